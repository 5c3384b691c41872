"""Flower Grids of ours: they carry a ServerApp's messages to ClientApps without a SuperLink.

`InlineGrid` runs the clients one after the other in this process, `ActorGrid` in Ray actors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flwr.clientapp import ClientApp

from covey.federation.actor_grid import ActorGrid
from covey.federation.app_folder import ConfigValue
from covey.federation.client_runner import Answer, ClientRunner, Question
from covey.federation.generators import preserved
from covey.federation.simulated_grid import SimulatedGrid

__all__ = ["ActorGrid", "InlineGrid"]


class InlineGrid(SimulatedGrid):
    """All clients in this process, one after the other."""

    def __init__(
        self,
        client_app: ClientApp,
        *,
        num_clients: int,
        seed: int = 0,
        run_config: Mapping[str, ConfigValue] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(num_clients=num_clients, run_config=run_config, **more)
        self._runner = ClientRunner(client_app, num_clients, seed, self.run_config)

    def _answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        if not asked:
            return
        with preserved():
            for number, question in enumerate(asked):
                if left_s() <= 0:
                    return
                yield number, self._runner.answer(question)

"""A Grid that trains all sampled clients as one program of batched tensors."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from flwr.clientapp import ClientApp

from covey.federation.app_folder import ConfigValue
from covey.federation.client_runner import Answer, Question
from covey.federation.grids import InlineGrid


class CohortProgram(Protocol):
    """What a ClientApp does with some messages, for all of them together."""

    def takes(self, question: Question) -> bool:
        """Whether it answers messages like this one."""

    def answers(self, asked: Sequence[Question]) -> list[Answer]:
        """One for each question, in order: to rounding what the ClientApp would answer to each,
        the random numbers the same.
        """


class CohortGrid(InlineGrid):
    """Messages that the program takes are answered together; others by the ClientApp, one after
    the other.
    """

    def __init__(
        self,
        client_app: ClientApp,
        program: CohortProgram,
        *,
        num_clients: int,
        seed: int = 0,
        run_config: Mapping[str, ConfigValue] | None = None,
        **more: Any,
    ) -> None:
        more |= {"num_clients": num_clients, "seed": seed, "run_config": run_config}
        super().__init__(client_app, **more)
        self._program = program

    def _answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        together = [place for place, one in enumerate(asked) if self._program.takes(one)]
        if together and left_s() > 0:
            answers = self._program.answers([asked[place] for place in together])
            yield from zip(together, answers, strict=True)
        taken = set(together)
        apart = [place for place in range(len(asked)) if place not in taken]
        for number, answer in super()._answers([asked[place] for place in apart], left_s):
            yield apart[number], answer


def in_groups(
    asked: Sequence[Question],
    key: Callable[[Question], Hashable],
    answers: Callable[[Sequence[Question]], Sequence[Answer]],
) -> list[Answer]:
    """The answers to all, in order, where those of the same key are answered together."""
    groups: dict[Hashable, list[int]] = {}
    for place, question in enumerate(asked):
        groups.setdefault(key(question), []).append(place)
    found: dict[int, Answer] = {}
    for places in groups.values():
        found.update(zip(places, answers([asked[place] for place in places]), strict=True))
    return [found[place] for place in range(len(asked))]

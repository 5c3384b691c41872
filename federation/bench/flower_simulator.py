"""Flower's own simulator with the built-in app, which is a stock Flower app. It runs in a process
of its own with a Ray of its own: at its end Flower shuts down whatever Ray its process has.

    python -m covey.federation.bench.flower_simulator '{"run_config": {...}, "start": ...}'

Settings: `run_config` of the app, `clients`, `start` (as of `peers/task.py`), and `cpus`: how many
Flower gets, one for each of its actors.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Result, Strategy
from flwr.simulation import run_simulation

from covey.federation.app_folder import ConfigValue
from covey.federation.apps import client_app, server_app
from covey.federation.bench.peers.round_clock import Record, RoundClock, Settings, report
from covey.federation.flower_internals import replace_start
from covey.federation.generators import seed_all

Config = dict[str, ConfigValue]
EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]


def client_of(config: Config) -> ClientApp:
    """The built-in ClientApp, but on the share that the message names: the simulator's node ids are
    drawn anew in each run, so no server can ask for the same clients twice.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        share = int(str(message.content.config_records["share"]["client"]))
        node: Config = {**context.node_config, "partition-id": share}
        own = Context(context.run_id, context.node_id, node, context.state, config)
        return client_app.app(message, own)

    return app


def naming_shares(
    configure: Callable[..., Iterable[Message]], cohorts: list[list[int]]
) -> Callable[..., list[Message]]:
    """A strategy's `configure_train` whose messages name the round's clients besides."""

    def configure_train(number: int, *rest: Any) -> list[Message]:
        named = []
        for message, client in zip(configure(number, *rest), cohorts[number - 1], strict=True):
            content = RecordDict({**message.content, "share": ConfigRecord({"client": client})})
            metadata = message.metadata
            named.append(Message(content, metadata.dst_node_id, metadata.message_type))
        return named

    return configure_train


class Watch:
    """Looks at the clock between rounds and tests the last model."""

    def __init__(self, test: EvaluateFn, rounds: int) -> None:
        self._test, self._rounds = test, rounds
        self.record: Record = {}

    def __call__(self, number: int, arrays: ArrayRecord) -> MetricRecord | None:
        """Flower calls it before the first round and after each."""
        if number == 0:
            self._clock = RoundClock()
            return None
        self._clock.round_done()
        if number < self._rounds:
            return None
        metrics = self._test(number, arrays)
        assert metrics is not None
        self.record = self._clock.record(float(metrics["accuracy"]))  # type: ignore[arg-type]
        return metrics


def train(settings: Settings) -> Record:
    cohorts: list[list[int]] = np.load(settings["start"])["cohorts"].tolist()
    watches: list[Watch] = []
    flower_start = Strategy.start

    def start(
        self: Strategy,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int,
        evaluate_fn: EvaluateFn,
    ) -> Result:
        watches.append(Watch(evaluate_fn, num_rounds))
        configure = naming_shares(self.configure_train, cohorts)
        self.configure_train = configure  # type: ignore[method-assign]
        return flower_start(self, grid, initial_arrays, num_rounds, evaluate_fn=watches[0])

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        seed_all(settings["run_config"]["partition_seed"], "server")
        own = Context(context.run_id, context.node_id, {}, RecordDict(), settings["run_config"])
        server_app.app(grid, own)

    undo = replace_start(start)
    try:
        run_simulation(
            server,
            client_of(settings["run_config"]),
            settings["clients"],
            backend_config={
                "client_resources": {"num_cpus": 1},
                "init_args": {"address": "local", "num_cpus": settings["cpus"]},
            },
        )
    finally:
        undo()
    if not watches or not watches[0].record:
        raise SystemExit("Flower's simulator ended before its last round")
    return watches[0].record


if __name__ == "__main__":
    report(train)

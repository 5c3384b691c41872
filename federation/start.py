"""`Strategy.start` replaced: a ServerApp's call of it comes to our round loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from covey.federation.flower_internals import replace_start
from covey.platform.runs.run import Run

EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]
TIMEOUT_S = 3600  # what Flower's own loop waits for replies unless told otherwise


@dataclass(frozen=True)
class Start:
    """What an app asked for when it called `strategy.start(...)`."""

    strategy: Strategy
    grid: Grid
    """The one that `main` was given, or what the app has put around it."""
    initial_arrays: ArrayRecord
    num_rounds: int
    timeout: float
    train_config: ConfigRecord | None
    evaluate_config: ConfigRecord | None
    evaluate_fn: EvaluateFn | None


class Loop(Protocol):
    """What stands in the place of `Strategy.start`."""

    called: bool

    def start(self, asked: Start) -> Result:
        """All rounds."""


@contextmanager
def resumable_start(loop: Loop, run: Run) -> Iterator[None]:
    """Within the block the first `Strategy.start` is `loop`'s; further ones are Flower's own."""

    def start(
        self: Strategy,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = TIMEOUT_S,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        configs = (train_config, evaluate_config)
        if not loop.called:
            asked = (initial_arrays, num_rounds, timeout, *configs, evaluate_fn)
            return loop.start(Start(self, grid, *asked))
        run.event("second-start", "a second Strategy.start cannot resume: it begins at its round 1")
        return flower_start(self, grid, initial_arrays, num_rounds, timeout, *configs, evaluate_fn)

    flower_start = Strategy.start
    undo = replace_start(start)
    try:
        yield
    finally:
        undo()

"""Our round loop in the place of `Strategy.start`.

The same verbs, but it can stop, save itself and go on.

Flower's own loop always begins at round 1. While a ServerApp runs inside `resumable_start`, a call
of `strategy.start(...)` comes here instead, also when a strategy inherits `start`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from covey.federation.figures import figures_of, with_accuracy
from covey.federation.flower_internals import replace_start
from covey.federation.generators import preserved
from covey.federation.sampling import refuse_endless_wait, set_cohort
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.snapshot import Progress, restore, save
from covey.platform.runs.run import Checkpoint, Run

EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]
TIMEOUT_S = 3600  # what Flower's own loop waits for replies unless told otherwise


class ClientsFailed(Exception):
    """A round in which every client failed: nothing was learnt, so going on would only hide it."""


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


class RoundLoop:
    """The rounds of one run. `metrics` are the newest round's figures once `start` was called."""

    def __init__(
        self,
        run: Run,
        grid: SimulatedGrid,
        context: Context,
        checkpoint: Checkpoint | None,
        cohort: int | None = None,
        evaluate_every: int = 1,
    ) -> None:
        self.called = False
        self.active = False
        self.metrics: dict[str, float] = {}
        self._run = run
        self._grid = grid
        self._context = context
        self._checkpoint = checkpoint
        self._cohort = cohort
        self._evaluate_every = evaluate_every
        self._left_out: set[str] = set()
        self._server_evaluates = True

    def start(self, asked: Start) -> Result:
        """All rounds up to the job's stop, beginning after the checkpoint if there is one."""
        self.called = self.active = True
        try:
            self._server_evaluates = asked.evaluate_fn is not None
            refuse_endless_wait(asked.strategy, len(list(asked.grid.get_node_ids())))
            if self._cohort is not None:
                set_cohort(asked.strategy, self._cohort, self._run.event)
            progress = Progress(
                asked.initial_arrays,
                asked.train_config or ConfigRecord(),
                asked.evaluate_config or ConfigRecord(),
            )
            if asked.grid is not self._grid:
                kind = type(asked.grid).__name__
                self._run.event("own-grid", f"what the app's {kind} keeps is in no checkpoint")
            if self._checkpoint is not None:
                restore(self._checkpoint, progress, asked.strategy, self._grid, self._context)
            asked.strategy.summary()
            self._run.started()
            self._rounds(asked, progress, self._limit(asked.num_rounds))
            return progress.result
        finally:
            self.active = False
            self._grid.round = None

    def _limit(self, asked: int) -> int:
        """The job file decides the number of rounds; without `stop.rounds` the app does."""
        decided = self._run.job.stop.rounds
        if decided is None:
            return asked
        if decided != asked:
            self._run.event(
                "rounds", f"the app asks for {asked} rounds, stop.rounds says {decided}"
            )
        return decided

    def _rounds(self, asked: Start, progress: Progress, limit: int) -> None:
        saved = progress.round if self._checkpoint is not None else None
        self.metrics = progress.metrics
        if saved is None:
            self._report(progress, self._evaluate(progress, asked.evaluate_fn))
        reason = self._run.stop_reason(progress.round, progress.metrics)
        while reason is None and progress.round < limit:
            began = time.monotonic()
            progress.round += 1
            figures = self._round(asked, progress)
            due = progress.round % self._evaluate_every == 0
            if due:
                figures |= self._evaluate(progress, asked.evaluate_fn)
            reason = self._run.stop_reason(progress.round, self._named(figures))
            if not due and (reason is not None or progress.round >= limit):
                # Not part of the schedule: were the run extended later, it must not have left a
                # trace.
                with preserved():
                    figures |= self._evaluate(progress, asked.evaluate_fn)
                progress.result.evaluate_metrics_serverapp.pop(progress.round, None)
            self._report(progress, {**figures, "round_s": time.monotonic() - began})
            if self._run.checkpoint_due(progress.round):
                self._save(progress, asked.strategy)
                saved = progress.round
        if saved != progress.round:
            self._save(progress, asked.strategy)

    def _round(self, asked: Start, progress: Progress) -> dict[str, float]:
        """One round: training, then evaluation on clients if the strategy asks for it."""
        number, strategy, grid = progress.round, asked.strategy, asked.grid
        self._grid.round = number
        messages = strategy.configure_train(number, progress.arrays, progress.train_config, grid)
        replies = list(grid.send_and_receive(messages, timeout=asked.timeout))
        figures = self._count(number, replies)
        arrays, trained = strategy.aggregate_train(number, replies)
        if arrays is not None:
            progress.arrays = progress.result.arrays = arrays
        if trained is not None:
            progress.result.train_metrics_clientapp[number] = trained
            figures |= figures_of(trained, "train_")
        messages = strategy.configure_evaluate(
            number, progress.arrays, progress.evaluate_config, grid
        )
        answers = grid.send_and_receive(messages, timeout=asked.timeout)
        evaluated = strategy.aggregate_evaluate(number, answers)
        if evaluated is not None:
            progress.result.evaluate_metrics_clientapp[number] = evaluated
            figures |= figures_of(evaluated, "client_")
        return figures

    def _count(self, number: int, replies: Iterable[Message]) -> dict[str, float]:
        """How many clients trained; those that failed are told, and named."""
        failed = {reply.metadata.src_node_id: reply.error for reply in replies if reply.has_error()}
        trained = sum(not reply.has_error() for reply in replies)
        if not failed:
            return {"clients": trained}
        reason = next(iter(failed.values())).reason
        asked = trained + len(failed)
        text = f"round {number}: {len(failed)} of {asked} clients failed, first: {reason}"
        self._run.event("client-failed", text, nodes=sorted(failed))
        if not trained:
            raise ClientsFailed(text)
        return {"clients": trained, "clients_failed": len(failed)}

    def _evaluate(self, progress: Progress, evaluate_fn: EvaluateFn | None) -> dict[str, float]:
        """The server's own evaluation of the global arrays; empty when the app has none."""
        metrics = evaluate_fn(progress.round, progress.arrays) if evaluate_fn else None
        if metrics is None:
            return {}
        progress.result.evaluate_metrics_serverapp[progress.round] = metrics
        return figures_of(metrics, "")

    def _named(self, figures: dict[str, float]) -> dict[str, float]:
        return with_accuracy(figures, self._server_evaluates)

    def _report(self, progress: Progress, figures: dict[str, float]) -> None:
        progress.metrics = self.metrics = self._named(figures)
        if figures:
            self._run.report(progress.round, progress.metrics)

    def _save(self, progress: Progress, strategy: Strategy) -> None:
        parts, left_out = save(progress, strategy, self._grid, self._context)
        new = set(left_out) - self._left_out
        if new:
            self._left_out |= new
            self._run.event(
                "not-in-checkpoint",
                f"{type(strategy).__name__} holds what no checkpoint can keep; a resumed run may "
                f"differ: {', '.join(sorted(new))}",
            )
        self._run.checkpoint(progress.round, parts)


@contextmanager
def resumable_start(loop: RoundLoop, run: Run) -> Iterator[None]:
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

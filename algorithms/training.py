"""The training loop of `workload: rl`: slices of training, reports, evaluations, checkpoints."""

import math
import os
import time
from collections.abc import Callable, Mapping

from covey.algorithms import saved
from covey.algorithms.orders import Report, Slice
from covey.algorithms.progress import Progress
from covey.algorithms.section import RLSection
from covey.algorithms.side_work import EvaluationWork, ViewerWork
from covey.algorithms.team import Team
from covey.algorithms.tuning import tuning_of
from covey.platform.runs.run import Run
from covey.platform.runtime.crew import Crew

SLICE_S = 0.2
"""Of training between two looks at the job as a whole."""

PIDS_S = 5.0


class Training:
    """One attempt. In deterministic mode all decisions are by step, else also by the clock."""

    def __init__(
        self,
        run: Run,
        crew: Crew,
        team: Team,
        progress: Progress,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        self.metrics = dict(metrics or {})
        """What was reported last."""
        self._run = run
        self._crew = crew
        self._team = team
        self._pids: tuple[int, ...] = ()
        self._asked_s = -math.inf
        self._saved_at = -1
        self._is_midway = False
        """Whether the learner is within a turn, waiting for others."""
        self._section: RLSection = team.job.section
        self._progress = progress
        self._meters: dict[str, float] = {}
        self._evaluation = EvaluationWork(crew, team, self._progress)
        self._viewer = ViewerWork(run, crew, team)
        self._tuning = tuning_of(team, crew, progress)

    def run_to_end(self) -> Mapping[str, float]:
        """Go on until it is time to stop; last of all, checkpoint the final state."""
        reason = self.go_on()
        assert reason is not None
        self._team.halt()
        # Who asks a run to stop kills it soon after: the checkpoint comes first then.
        waits = not self._run.stop_requested
        if waits and self._evaluation.finish():
            self._run.report(self._progress.env_steps, self.metrics | self._progress.evaluated)
        self._last_checkpoint()
        if waits:
            self._viewer.finish()
        self._run.event("stop", reason)
        evaluated = self._progress.evaluated
        return {**self._progress.metrics(), **self.metrics, **evaluated, **self._meters}

    def go_on(self, is_over: Callable[[], bool] = lambda: False) -> str | None:
        """Train until there is a reason to stop, which it returns, or until it is over."""
        run = self._run
        reason = run.stop_reason(self._progress.env_steps, self._progress.stop_metrics())
        while reason is None and not is_over():
            report = self._team.learn(self._slice())
            self._is_midway = report is not None and report.waiting
            if report is None or not report.turns:
                reason = run.stop_reason(self._progress.env_steps, {})
                continue
            self._take_in(report)
            reason = run.stop_reason(self._progress.env_steps, self._progress.stop_metrics())
            if reason is None and run.checkpoint_due(self._progress.env_steps):
                self._checkpoint()
            if reason is None and self._tuning is not None and not self._is_midway:
                self._tuning.look()
        return reason

    def _slice(self) -> Slice:
        stop = self._run.job.stop
        if self._run.job.deterministic:
            return Slice(
                env_steps=self._section.algorithm.report_steps, until_env_steps=stop.env_steps
            )
        return Slice(
            SLICE_S,
            until_env_steps=stop.env_steps,
            until_return=stop.episode_return_mean,
            pids=self._processes(),
        )

    def _processes(self) -> tuple[int, ...]:
        """This process and the workers'; asked for now and then, since workers are replaced."""
        if time.monotonic() >= self._asked_s + PIDS_S:
            self._asked_s = time.monotonic()
            self._pids = (os.getpid(), *self._crew.pids().values())
        return self._pids

    def _take_in(self, report: Report) -> None:
        self._progress.take_over(report.progress)
        self._evaluation.look()
        self.metrics = {
            **report.metrics,
            **self._progress.evaluated,
            **self._team.counts(),
        }
        self._meters = report.meters
        self._run.report(self._progress.env_steps, self.metrics)
        self._viewer.look(self._progress.env_steps, self.metrics)

    def _last_checkpoint(self) -> None:
        """Of the last finished update. In the midst of a turn there is none from which the rest of
        the training would be the same.
        """
        if not self._is_midway:
            if self._saved_at != self._progress.env_steps:
                self._checkpoint(last=True)
        elif self._run.job.deterministic:
            told = "the one before stays: a job that repeats goes on from the end of a turn"
            self._run.event("no-checkpoint", f"updates waited for others, {told}")
        else:
            self._checkpoint(last=True)
            self.metrics |= self._progress.metrics()

    def _checkpoint(self, last: bool = False) -> None:
        state = self._team.pause()
        state.progress.update(self._progress.side_work())
        if self._is_midway:
            self._progress.take_over(state.progress)
        self._run.checkpoint(self._progress.env_steps, saved.parts(state))
        self._saved_at = self._progress.env_steps
        if not last:
            self._team.go_on()

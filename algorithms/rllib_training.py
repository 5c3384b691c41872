"""The training loop of `workload: rllib`: let RLlib train, report, checkpoint, until it is time to
stop.
"""

from collections.abc import Mapping
from time import monotonic, perf_counter

from covey.algorithms import rllib_saved as saved
from covey.algorithms.progress import Progress
from covey.algorithms.rllib_build import order
from covey.algorithms.rllib_crew import RllibCrew
from covey.algorithms.rllib_figures import Iteration
from covey.algorithms.rllib_resources import share_out
from covey.algorithms.rllib_section import RllibSection
from covey.algorithms.rllib_trainer import RllibTrainer, TrainerState
from covey.platform.runs.run import Run
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive_int

STALLED_S = 300.0
"""RLlib replaces dead env runners by itself; without any step for so long it has failed."""


class Stalled(RuntimeError):
    """RLlib goes on without getting anywhere: a later attempt may do better."""


def train(run: Run) -> Mapping[str, float]:
    """Train until `run.stop_reason` says why to stop; the final metrics."""
    job, section = run.job, run.job.section
    assert isinstance(section, RllibSection)
    checkpoint = run.restore()
    restored = saved.read(checkpoint) if checkpoint is not None else None
    progress = restored.progress if restored is not None else Progress()
    shares = share_out(section.algorithm, section.config, job.resources)
    # New episodes begin after a resume: with the old seed they would be those from the beginning.
    wanted = order(job, shares, derive_int(job.seed, "rllib", progress.env_steps))
    crew = RllibCrew(job.resources, shares, run.ray_address)
    try:
        crew.spawn(RllibTrainer, wanted)
        spaces: Spaces = crew.call("spaces")
        if restored is not None:
            if restored.replay is None and crew.call("has_replay"):
                run.event("empty-replay", "the checkpoint holds no replay buffer: it starts empty")
            crew.call("restore", restored.algorithm, restored.replay, restored.variables)
        return Loop(run, crew, spaces, progress).run_to_end()
    finally:
        crew.close()


class Loop:
    """One attempt's loop. A request to stop is heard after RLlib's iteration under way."""

    def __init__(self, run: Run, crew: RllibCrew, spaces: Spaces, progress: Progress) -> None:
        self._run = run
        self._crew = crew
        self._spaces = spaces
        self._progress = progress
        self._metrics: dict[str, float] = {}
        self._moved_at = monotonic()

    def run_to_end(self) -> Mapping[str, float]:
        """Iterate until it is time to stop; last of all, checkpoint the final state."""
        run, progress = self._run, self._progress
        run.started()
        reason = run.stop_reason(progress.env_steps, progress.stop_metrics())
        saved_at = -1
        while reason is None:
            self._iterate()
            run.report(progress.env_steps, self._metrics)
            reason = run.stop_reason(progress.env_steps, progress.stop_metrics())
            if reason is None and run.checkpoint_due(progress.env_steps):
                self._checkpoint()
                saved_at = progress.env_steps
        if saved_at != progress.env_steps:
            self._checkpoint()
        run.event("stop", reason)
        return {**progress.metrics(), **self._metrics}

    def _iterate(self) -> None:
        began = perf_counter()
        iteration: Iteration = self._crew.call("train")
        took_s = perf_counter() - began
        count(self._progress, iteration)
        self._metrics = {
            **self._progress.metrics(),
            **iteration.figures,
            **self._progress.evaluated,
            "sampling_hz": iteration.env_steps / took_s,
            "update_hz": iteration.updates / took_s,
            "update_frame_hz": iteration.samples / took_s,
            "iteration_s": took_s,
        }
        if iteration.env_steps > 0:
            self._moved_at = monotonic()
        elif monotonic() - self._moved_at > STALLED_S:
            raise Stalled(f"RLlib has not taken an environment step for {STALLED_S:g} s")

    def _checkpoint(self) -> None:
        state: TrainerState = self._crew.call("state")
        self._run.checkpoint(
            self._progress.env_steps, saved.parts(self._spaces, self._progress, state)
        )


def count(progress: Progress, iteration: Iteration) -> None:
    """Take an iteration into the run's counters."""
    progress.iterations += 1
    progress.env_steps += iteration.env_steps
    progress.updates += int(iteration.updates)
    progress.episodes += len(iteration.returns)
    progress.returns.extend(iteration.returns)
    progress.lengths.extend(iteration.lengths)
    played = iteration.evaluation_returns
    if played:
        progress.evaluated = {"evaluation_return_mean": sum(played) / len(played)}

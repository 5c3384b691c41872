"""The training loop of `workload: rl`: sample, update, report, checkpoint, until it is time to
stop.
"""

from collections.abc import Mapping
from time import perf_counter

from covey.algorithms import saved
from covey.algorithms.progress import Progress
from covey.algorithms.section import RLSection
from covey.algorithms.team import Team, assemble, env_source, number_of_samplers, probe_spaces
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.checkpoint import Checkpoint
from covey.platform.runs.run import Run
from covey.platform.runtime.crew import Crew, InlineCrew, Pending
from covey.platform.runtime.evaluator import Evaluation
from covey.platform.runtime.spaces import Spaces


def train(run: Run) -> Mapping[str, float]:
    """Train until `run.stop_reason` says why to stop; the final metrics."""
    job = run.job
    checkpoint = run.restore()
    spaces = probe_spaces(env_source(job))
    crew = make_crew(job, run.ray_address)
    try:
        loop = TrainingLoop(run, crew, assemble(crew, job, spaces), spaces)
        if checkpoint is not None:
            loop.restore(checkpoint)
        return loop.run_to_end()
    finally:
        crew.close()


def make_crew(job: JobFile, ray_address: str) -> Crew:
    """Inline without samplers, else Ray actors."""
    samplers = number_of_samplers(job.section)
    if samplers == 0:
        return InlineCrew()
    from covey.platform.runtime.actors import RayCrew

    return RayCrew(job.resources, samplers, ray_address)


class TrainingLoop:
    """One attempt's loop over a team of workers. All decisions but the evaluator's timing are by
    step.
    """

    def __init__(self, run: Run, crew: Crew, team: Team, spaces: Spaces) -> None:
        self._run = run
        self._crew = crew
        self._team = team
        self._spaces = spaces
        self._section: RLSection = run.job.section
        self._progress = Progress()
        self._metrics: dict[str, float] = {}
        self._evaluation: Pending | None = None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; every worker gets its part."""
        state = saved.read(checkpoint)
        self._progress = state.progress
        pending = [self._team.learner.submit("restore", state.learner)]
        environments = self._section.sampling.envs_per_sampler
        if isinstance(environments, int) and state.fits(len(self._team.samplers), environments):
            pending += [
                worker.submit("restore", *part)
                for worker, part in zip(self._team.samplers, state.samplers, strict=True)
            ]
        else:
            self._run.event(
                "resume", "the number of samplers or environments has changed: new episodes begin"
            )
        self._crew.fetch(pending)

    def run_to_end(self) -> Mapping[str, float]:
        """Iterate until it is time to stop; last of all, checkpoint the final state."""
        run, progress = self._run, self._progress
        weights = self._team.learner.submit("weights")
        self._crew.fetch([weights])  # every process is up: the training clock starts
        run.started()
        reason = run.stop_reason(progress.env_steps, progress.stop_metrics())
        saved_at = -1
        while reason is None:
            weights = self._iterate(weights)
            run.report(progress.env_steps, self._metrics)
            reason = run.stop_reason(progress.env_steps, progress.stop_metrics())
            if reason is None and run.checkpoint_due(progress.env_steps):
                self._checkpoint()
                saved_at = progress.env_steps
        if self._evaluation is not None:
            self._finish_evaluation()
            run.report(progress.env_steps, self._metrics)
        if saved_at != progress.env_steps:
            self._checkpoint()
        run.event("stop", reason)
        return {**progress.metrics(), **self._metrics, **progress.evaluated}

    def _iterate(self, weights: Pending) -> Pending:
        """Sample with these weights and update; returns the next weights."""
        progress, total = self._progress, self._run.job.stop.env_steps
        began = perf_counter()
        done = progress.env_steps / total if total else 0.0
        fragments = [worker.submit("sample", weights) for worker in self._team.samplers]
        update = self._team.learner.submit("update", done, *fragments)
        following = self._team.learner.submit("weights")
        collected = self._crew.fetch(fragments)
        before = progress.env_steps
        progress.take_in(collected)
        (learned,) = self._crew.fetch([update])
        slowest = max(fragment.sample_s for fragment in collected)
        self._metrics = {
            **progress.metrics(),
            **learned,
            "sampling_hz": (progress.env_steps - before) / slowest,
            "iteration_s": perf_counter() - began,
        }
        self._evaluate(following)
        return following

    def _evaluate(self, weights: Pending) -> None:
        """Take in an evaluation that has ended, begin one that is due. Waits only in lock-step."""
        every, evaluator = self._section.evaluation.every_env_steps, self._team.evaluator
        if every is None or evaluator is None:
            return
        if self._evaluation is not None and self._crew.is_ready(self._evaluation):
            self._finish_evaluation()
        progress = self._progress
        if self._evaluation is None and progress.env_steps >= progress.evaluated_at + every:
            progress.evaluated_at = progress.env_steps
            episodes = self._section.evaluation.episodes
            self._evaluation = evaluator.submit("evaluate", weights, episodes)
            if self._run.job.deterministic:
                self._finish_evaluation()

    def _finish_evaluation(self) -> None:
        assert self._evaluation is not None
        evaluation: Evaluation
        (evaluation,) = self._crew.fetch([self._evaluation])
        self._evaluation = None
        self._progress.evaluated = {
            "evaluation_return_mean": float(evaluation.returns.mean()),
            "evaluation_return_std": float(evaluation.returns.std()),
        }
        self._metrics.update(self._progress.evaluated)

    def _checkpoint(self) -> None:
        learner, *samplers = self._crew.fetch(
            [worker.submit("state") for worker in (self._team.learner, *self._team.samplers)]
        )
        state = saved.TrainingState(self._spaces, self._progress, learner, tuple(samplers))
        self._run.checkpoint(self._progress.env_steps, saved.parts(state))

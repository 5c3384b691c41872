"""Training in the job's own process while Ray's actors start, which takes them 10 s and more."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from covey.algorithms.parts import number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.saved import TrainingState
from covey.algorithms.section import RLSection
from covey.algorithms.team import Team
from covey.algorithms.training import Training
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.run import Run
from covey.platform.runtime.crew import InlineCrew
from covey.platform.runtime.spaces import Spaces


class Beforehand:
    """A thread that trains, for who waits for Ray in the meantime and then goes on from `end`.

    The main thread is left to Ray: the processes that Ray starts die with the thread they were
    started by, and signal handlers are set in the main thread alone.
    """

    def __init__(self, run: Run, spaces: Spaces) -> None:
        self.metrics: dict[str, float] = {}
        self._run = run
        self._spaces = spaces
        self._is_over = threading.Event()
        self._thread = ThreadPoolExecutor(1, "beforehand")
        self._state = self._thread.submit(self._train)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.shutdown()

    def end(self) -> TrainingState:
        """Where training stands; raises what it raised."""
        self._is_over.set()
        return self._state.result()

    def _train(self) -> TrainingState:
        run, crew = self._run, InlineCrew()
        team = Team(crew, inline(run.job), self._spaces, run.event)
        try:
            team.start(None)
            run.started()
            training = Training(run, crew, team, Progress())
            training.go_on(self._is_over.is_set)
            self.metrics = training.metrics
            return team.pause()
        finally:
            crew.close()
            team.close()


def inline(job: JobFile) -> JobFile:
    """The same job in one process: all samplers' environments, and one thread beside Ray's start.

    Evaluations wait for the evaluator.
    """
    section: RLSection = job.section
    sampling = section.sampling
    assert isinstance(sampling.envs_per_sampler, int)
    environments = max(1, number_of_samplers(section)) * sampling.envs_per_sampler
    alone = section.model_copy(
        update={
            "algorithm": section.algorithm.model_copy(update={"threads": 1}),
            "sampling": sampling.model_copy(
                update={"samplers": 0, "envs_per_sampler": environments}
            ),
            "evaluation": section.evaluation.model_copy(update={"every_env_steps": None}),
        }
    )
    return job.model_copy(update={"rl": alone})

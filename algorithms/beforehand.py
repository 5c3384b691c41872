"""Training in the job's own process while Ray's actors start, which takes them 10 s and more."""

import threading
import time
from collections.abc import Mapping
from typing import Any, Self, cast

from covey.algorithms import saved
from covey.algorithms.parts import number_of_samplers
from covey.algorithms.progress import Progress
from covey.algorithms.saved import TrainingState
from covey.algorithms.section import RLSection
from covey.algorithms.team import Team
from covey.algorithms.training import Training
from covey.platform.errors import Superseded
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.run import CheckpointFailed, Run
from covey.platform.runtime.crew import InlineCrew
from covey.platform.runtime.spaces import Spaces

LOOK_S = 0.1


class Beforehand:
    """A thread that trains, for who waits for Ray in the meantime and then goes on from `end`.

    The main thread is left to Ray: the processes that Ray starts die with the thread they were
    started by, and signal handlers are set in the main thread alone. What fails or hangs here is
    left to the actors, who can be replaced.
    """

    def __init__(self, run: Run, spaces: Spaces) -> None:
        self.metrics: Mapping[str, float] = {}
        self.counts: Mapping[str, float] = {}
        self._run = run
        self._lease = Lease(run)
        self._spaces = spaces
        self._is_over = threading.Event()
        self._team: Team | None = None
        self._state: TrainingState | None = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._try, name="beforehand", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._lease.is_over:
            self._wait()
            self._lease.end()

    def end(self) -> TrainingState | None:
        """Where training stands; None if it is to begin again, from the beginning."""
        self._wait()
        self._lease.end()
        if isinstance(self._failure, Superseded | CheckpointFailed):
            raise self._failure
        if self._state is not None:
            return self._state
        why = "it gave no sign any more" if self._failure is None else repr(self._failure)
        self._run.event("replaced", f"training in the job's own process: {why}; actors take over")
        self.metrics, self.counts = {}, {"replaced_workers": 1.0}
        checkpoint = self._run.restore()
        self._run.started()
        return None if checkpoint is None else saved.read(checkpoint)

    def _wait(self) -> None:
        """Until the thread has ended, or hangs in an environment."""
        self._is_over.set()
        section: RLSection = self._run.job.section
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(LOOK_S)
            seen = [stream.heartbeat_s for stream in self._streams()]
            if time.monotonic() - max([began, *seen]) > section.sampling.hang_s:
                return

    def _streams(self) -> list[Any]:
        team = self._team
        return [] if team is None else team.samplers.streams

    def _try(self) -> None:
        try:
            self._train()
        except LeaseOver:
            return
        except Exception as failure:
            self._failure = failure

    def _train(self) -> None:
        run, crew = cast(Run, self._lease), InlineCrew()
        team = Team(crew, inline(run.job), self._spaces, run.event)
        try:
            team.start(None)
            self._team = team
            run.started()
            training = Training(run, crew, team, Progress())
            training.go_on(self._is_over.is_set)
            self.metrics, self.counts = training.metrics, team.counts()
            self._state = team.pause()
        finally:
            self._team = None
            crew.close()
            team.close()


class LeaseOver(Exception):
    """Somebody else goes on with the run."""


class Lease:
    """A run as its thread sees it, until somebody else goes on with it."""

    def __init__(self, run: Run) -> None:
        self._run: Run | None = run

    @property
    def is_over(self) -> bool:
        """Whether somebody else goes on."""
        return self._run is None

    def end(self) -> None:
        """From now on whoever uses it hears LeaseOver."""
        self._run = None

    def __getattr__(self, name: str) -> Any:
        if self._run is None:
            raise LeaseOver
        return getattr(self._run, name)


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
                update={"samplers": 0, "envs_per_sampler": environments, "tuning": None}
            ),
            "evaluation": section.evaluation.model_copy(update={"every_env_steps": None}),
            "devices": None,
            "learners": None,
        }
    )
    return job.model_copy(update={"rl": alone})

"""The scheduler's records: job, attempt, event. Frozen; `states.apply` makes new ones."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a job stands."""

    #: for the jobs named in `after`, or for the pause before another attempt
    WAITING = "waiting"
    #: for room: nothing but free resources is missing
    QUEUED = "queued"
    #: an attempt is recorded and handed to Ray, but does not run yet
    STARTING = "starting"
    RUNNING = "running"
    #: a stop was asked for; the attempt has its grace period to write a checkpoint
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.STOPPED})
ACTIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""States in which an attempt may have processes and so holds its job's resources."""
UNFINISHED = frozenset(State) - TERMINAL


@dataclass(frozen=True)
class Attempt:
    """One try at a job. Times are seconds since the epoch; None = not yet."""

    number: int
    submission_id: str
    #: which cluster it was given to; another cluster never takes it over
    cluster: str
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    #: the driver's, where Ray told it
    exit_status: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Event:
    """A change in a job's history: from then on it was in `state`, and why. attempt 0: none yet."""

    time_s: float
    state: State
    attempt: int
    reason: str


class JobSummary(NamedTuple):
    """What people see of a job in a list. A tuple, because lists are long."""

    job_id: str
    name: str
    state: State
    num_attempts: int
    reason: str
    priority: int
    submitted_s: float
    run_dir: str


@dataclass(frozen=True)
class JobRow:
    """What a list of jobs and the admission of jobs need to know of one."""

    job_id: str
    name: str
    run_dir: str
    submitted_s: float
    priority: int = 0
    cpus: float = 1
    gpus: float = 0
    #: ids of jobs that must have succeeded before this one may start
    after: tuple[str, ...] = ()
    max_attempts: int = 1
    backoff_s: float = 0
    grace_s: float = 30
    state: State = State.QUEUED
    reason: str = ""
    #: the number of the newest attempt
    num_attempts: int = 0
    #: attempts made before the last `resume`, or in the foreground; they do not count against
    #: `max_attempts`
    forgiven_attempts: int = 0
    #: no attempt before this time (the pause after a failure)
    not_before_s: float = 0
    #: counts the writes; a writer with an older one lost the race and must read again
    version: int = 0


@dataclass(frozen=True)
class Job(JobRow):
    """A job with its attempts (oldest first) and its whole history."""

    attempts: tuple[Attempt, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def last_attempt(self) -> Attempt:
        """The newest attempt; IndexError before the first."""
        return self.attempts[-1]

"""The life of a job as a pure function: `apply(job, signal) -> (job, instructions)`.

Nothing here reads a clock, a store or a process: the caller brings the time with the signal, stores
the new job first, and only then carries out the instructions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from covey.platform.jobs.job import ACTIVE, TERMINAL, Attempt, Event, Job, State


@dataclass(frozen=True)
class Ready:
    """Nothing but room is missing any more."""

    at_s: float
    reason: str


@dataclass(frozen=True)
class Refused:
    """The job can never start: a dependency failed, or the cluster is too small."""

    at_s: float
    reason: str


@dataclass(frozen=True)
class Admitted:
    """There is room on that cluster, and it is this job's turn.

    `claimed` is the newest attempt that the run folder has seen: one in the foreground (`covey
    resume`) takes its number without the store, and the next must come after it.
    """

    at_s: float
    cluster: str
    claimed: int = 0


@dataclass(frozen=True)
class Started:
    """Ray says that the attempt's driver runs."""

    at_s: float


@dataclass(frozen=True)
class StopRequested:
    """Somebody wants the job to end."""

    at_s: float


@dataclass(frozen=True)
class Ended:
    """The attempt has no processes any more, or can no longer be heard of.

    `result` is succeeded, failed or stopped. `final`: trying again would fail the same way.
    `jitter` in [0, 1) spreads the pauses of jobs that failed together.
    """

    at_s: float
    result: State
    reason: str
    exit_status: int | None = None
    final: bool = False
    jitter: float = 0


@dataclass(frozen=True)
class Resumed:
    """Somebody wants a failed or stopped job to go on, with a fresh count of attempts."""

    at_s: float


Signal = Ready | Refused | Admitted | Started | StopRequested | Ended | Resumed


@dataclass(frozen=True)
class Launch:
    """Give the attempt to Ray."""

    attempt: Attempt


@dataclass(frozen=True)
class StopAttempt:
    """Ask Ray to end the attempt, with the job's grace period."""

    attempt: Attempt


Instruction = Launch | StopAttempt


class ImpossibleTransition(Exception):
    """A signal that the job's state does not allow; the message tells the job's history."""

    def __init__(self, job: Job, signal: Signal) -> None:
        history = "; ".join(
            f"{event.time_s:.3f} {event.state} (attempt {event.attempt}): {event.reason}"
            for event in job.events
        )
        super().__init__(
            f"job {job.job_id} is {job.state} and cannot take {signal}. So far: {history}"
        )


def new_job(job: Job) -> Job:
    """A job as it enters the store: waiting when it comes after others, else queued."""
    state, reason = State.QUEUED, "submitted"
    if job.after:
        state, reason = State.WAITING, f"submitted; comes after {', '.join(job.after)}"
    event = Event(job.submitted_s, state, 0, reason)
    return replace(job, state=state, reason=reason, events=(event,))


def apply(job: Job, signal: Signal) -> tuple[Job, tuple[Instruction, ...]]:
    """The job after the signal, and what must now be done. Raises ImpossibleTransition."""
    if isinstance(signal, StopRequested) and job.state is State.STOPPING:
        return job, (StopAttempt(job.last_attempt),)  # asked twice: nothing changes
    to, reason = _target(job, signal)
    step = _TRANSITIONS.get((job.state, to))
    if step is None or not isinstance(signal, step.signals):
        raise ImpossibleTransition(job, signal)
    job = step.change(job, signal)
    event = Event(signal.at_s, to, job.num_attempts, reason)
    job = replace(job, state=to, reason=reason, events=(*job.events, event))
    return job, tuple(make(job.last_attempt) for make in step.instructions)


def pause_s(job: Job, jitter: float) -> float:
    """Seconds before the next attempt: doubles with each failure, stretched by up to a quarter."""
    failures = max(1, job.num_attempts - job.forgiven_attempts)
    return job.backoff_s * 2.0 ** min(failures - 1, 30) * (1 + 0.25 * jitter)


def _target(job: Job, signal: Signal) -> tuple[State, str]:
    match signal:
        case Ready(reason=reason):
            return State.QUEUED, reason
        case Refused(reason=reason):
            return State.FAILED, reason
        case Admitted(claimed=claimed):
            return State.STARTING, f"attempt {_next_attempt(job, claimed)} admitted"
        case Started():
            return State.RUNNING, f"attempt {job.num_attempts} runs"
        case StopRequested():
            return (State.STOPPING if job.state in ACTIVE else State.STOPPED), "stop requested"
        case Resumed():
            return State.WAITING, "resumed"
        case Ended():
            return _target_of_end(job, signal)


def _target_of_end(job: Job, signal: Ended) -> tuple[State, str]:
    if signal.result is not State.FAILED:
        return signal.result, signal.reason
    if job.state is State.STOPPING:
        return State.STOPPED, f"stopped; the attempt ended with: {signal.reason}"
    tries = job.num_attempts - job.forgiven_attempts
    if signal.final or tries >= job.max_attempts:
        return State.FAILED, signal.reason
    pause = pause_s(job, signal.jitter)
    return State.WAITING, f"another attempt in {pause:.1f} s, after: {signal.reason}"


def _keep(job: Job, signal: Signal) -> Job:
    return job


def _open_attempt(job: Job, signal: Signal) -> Job:
    assert isinstance(signal, Admitted)
    number = _next_attempt(job, signal.claimed)
    attempt = Attempt(number, f"{job.job_id}-{number}", signal.cluster, signal.at_s)
    return replace(
        job,
        num_attempts=number,
        # those in the foreground are none of the scheduler's tries
        forgiven_attempts=job.forgiven_attempts + number - job.num_attempts - 1,
        attempts=(*job.attempts, attempt),
    )


def _next_attempt(job: Job, claimed: int) -> int:
    return max(job.num_attempts, claimed) + 1


def _start_attempt(job: Job, signal: Signal) -> Job:
    return _with_last(job, replace(job.last_attempt, started_s=signal.at_s))


def _close_attempt(job: Job, signal: Signal) -> Job:
    assert isinstance(signal, Ended)
    attempt = replace(
        job.last_attempt,
        ended_s=signal.at_s,
        exit_status=signal.exit_status,
        reason=signal.reason,
    )
    not_before_s = signal.at_s + pause_s(job, signal.jitter)
    return replace(_with_last(job, attempt), not_before_s=not_before_s)


def _forgive(job: Job, signal: Signal) -> Job:
    return replace(job, forgiven_attempts=job.num_attempts, not_before_s=0)


def _with_last(job: Job, attempt: Attempt) -> Job:
    return replace(job, attempts=(*job.attempts[:-1], attempt))


@dataclass(frozen=True)
class _Step:
    signals: tuple[type[Signal], ...]
    change: Callable[[Job, Signal], Job] = _keep
    instructions: tuple[Callable[[Attempt], Instruction], ...] = ()


_TRANSITIONS: dict[tuple[State, State], _Step] = {
    (State.WAITING, State.QUEUED): _Step((Ready,)),
    (State.WAITING, State.FAILED): _Step((Refused,)),
    (State.WAITING, State.STOPPED): _Step((StopRequested,)),
    (State.QUEUED, State.FAILED): _Step((Refused,)),
    (State.QUEUED, State.STOPPED): _Step((StopRequested,)),
    (State.QUEUED, State.STARTING): _Step((Admitted,), _open_attempt, (Launch,)),
    (State.STARTING, State.RUNNING): _Step((Started,), _start_attempt),
    (State.STARTING, State.STOPPING): _Step((StopRequested,), _keep, (StopAttempt,)),
    (State.RUNNING, State.STOPPING): _Step((StopRequested,), _keep, (StopAttempt,)),
    (State.STARTING, State.WAITING): _Step((Ended,), _close_attempt),
    (State.RUNNING, State.WAITING): _Step((Ended,), _close_attempt),
    (State.FAILED, State.WAITING): _Step((Resumed,), _forgive),
    (State.STOPPED, State.WAITING): _Step((Resumed,), _forgive),
    **{(a, b): _Step((Ended,), _close_attempt) for a in ACTIVE for b in TERMINAL},
}

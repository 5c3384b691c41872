"""The scheduler's turn: look after what runs, wake what waits, admit what fits.

It remembers nothing that it could not read again from the store and the cluster, so one that was
killed is replaced by another at any moment. An attempt is stored as starting before it is submitted;
whoever finds one starting that the cluster does not know submits it under the same id, and the cluster
takes an id only once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from covey.platform.errors import UserError
from covey.platform.jobs.admission import decide
from covey.platform.jobs.job import ACTIVE, Attempt, Job, JobRow, State
from covey.platform.jobs.launcher import Cluster, Launcher, Phase, Sighting, Start, Unreachable
from covey.platform.jobs.lease import RENEW_EVERY_S, LeaseLost, renew
from covey.platform.jobs.outcome import judge, read_result
from covey.platform.jobs.states import (
    Admitted,
    Ended,
    Instruction,
    Launch,
    Ready,
    Refused,
    Signal,
    Started,
    StopAttempt,
    StopRequested,
    apply,
)
from covey.platform.jobs.store import Conflict, JobStore, UnknownJob

Prepare = Callable[[Job, str], None]
"""Makes the run folder of a job from the text of its job file, unless it is there."""


_LOOK_AGAIN_S = 2.0
"""Between looks at the queue when nothing changed in it: a cluster may grow without a word."""
_STOP_SLACK_S = 15.0
"""On top of a job's grace period, for Ray to end what did not end by itself."""


@dataclass(frozen=True)
class Limits:
    """Patience, in seconds."""

    #: an attempt that has not begun to run by then is ended
    pending_s: float = 120
    #: attempts on a cluster that has not answered for so long are given up
    silent_s: float = 120


class Scheduler:
    """Works on the store as the holder of lease `epoch`; every method raises LeaseLost after that."""

    def __init__(
        self,
        store: JobStore,
        launcher: Launcher,
        prepare: Prepare,
        epoch: int,
        *,
        clock: Callable[[], float] = time.time,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        say: Callable[[str], None] = print,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._prepare = prepare
        self._epoch = epoch
        self._clock = clock
        self._limits = limits
        self._say = say
        self._random = Random()
        self._renewed_s = clock()
        self._seen_revision = -1
        self._wake_s = 0.0
        self._unfinished = True
        self._troubles: dict[str, str] = {}
        self._silent_since: dict[str, float] = {}
        self._stop_asked_s: dict[str, float] = {}

    def turn(self) -> bool:
        """Do all that can be done now; False when no unfinished job is left."""
        if self._clock() >= self._renewed_s + RENEW_EVERY_S:
            self._renew()
        active = self._store.rows(ACTIVE)
        for row in active:
            self._guard(row.job_id, partial(self._watch, row.job_id))
        revision = self._store.revision()
        if revision != self._seen_revision or self._clock() >= self._wake_s:
            self._seen_revision = revision
            self._wake_s = self._clock() + _LOOK_AGAIN_S
            waiting = self._store.rows({State.WAITING})
            for row in waiting:
                self._guard(row.job_id, partial(self._wake, row))
            queued = self._store.rows({State.QUEUED})
            self._unfinished = bool(active or waiting or queued)
            if queued:
                self._admit(queued)
        return self._unfinished

    def _admit(self, queued: list[JobRow]) -> None:
        try:
            cluster = self._launcher.cluster()
        except Unreachable as error:
            return self._complain("the cluster", error)
        if cluster is None:
            self._wake_s = 0  # it is coming up: ask at every turn
            return None
        decision = decide(queued, self._store.rows(ACTIVE), cluster.total)
        for row in decision.impossible:
            self._guard(row.job_id, partial(self._refuse, row.job_id, cluster))
        for row in decision.admitted:
            self._guard(row.job_id, partial(self._start, row.job_id, cluster))

    def _refuse(self, job_id: str, cluster: Cluster) -> None:
        job, total = self._store.get(job_id), cluster.total
        reason = (
            f"asks for {job.cpus:g} CPUs and {job.gpus:g} GPUs, but the cluster has "
            f"{total.cpus:g} and {total.gpus:g} in all"
        )
        if cluster.fixed:
            self._change(job, Refused(self._clock(), reason))
        else:
            self._complain(job_id, reason)

    def _start(self, job_id: str, cluster: Cluster) -> None:
        self._change(self._store.get(job_id), Admitted(self._clock(), cluster.cluster_id))

    def _wake(self, row: JobRow) -> None:
        """Queue a waiting job whose pause is over and whose dependencies have succeeded."""
        states = {job_id: self._state_of(job_id) for job_id in row.after}
        for job_id, state in states.items():
            if state in (State.FAILED, State.STOPPED, None):
                reason = f"comes after {job_id}, which {state or 'is not in the store'}"
                self._change(self._store.get(row.job_id), Refused(self._clock(), reason))
                return
        if any(state is not State.SUCCEEDED for state in states.values()):
            return
        if self._clock() < row.not_before_s:
            self._wake_s = min(self._wake_s, row.not_before_s)
            return
        reason = "all that it comes after has succeeded" if states else "its pause is over"
        self._change(self._store.get(row.job_id), Ready(self._clock(), reason))

    def _state_of(self, job_id: str) -> State | None:
        try:
            return self._store.get(job_id).state
        except UnknownJob:
            return None

    def _watch(self, job_id: str) -> None:
        """Bring an active job up to what its cluster says."""
        job = self._store.get(job_id)
        if job.state not in ACTIVE:
            return
        attempt = job.last_attempt
        if self._launcher.is_gone(attempt.cluster):
            return self._end(job, None, "the Ray cluster that it ran on is gone")
        try:
            sighting = self._launcher.look(attempt.submission_id)
        except Unreachable as error:
            return self._bear_silence(job, attempt, str(error))
        self._silent_since.pop(attempt.submission_id, None)
        if sighting is None:
            self._handle_unknown(job, attempt)
        elif sighting.phase not in (Phase.PENDING, Phase.RUNNING):
            self._end(job, sighting)
        elif sighting.phase is Phase.PENDING and self._pends_too_long(attempt):
            self._launcher.stop(attempt.submission_id)
            self._end(job, None, f"did not begin within {self._limits.pending_s:g} s")
        elif job.state is State.STOPPING:
            self._ask_to_stop(job)
        elif job.state is State.STARTING and sighting.phase is Phase.RUNNING:
            self._change(job, Started(self._clock()))
        return None

    def _handle_unknown(self, job: Job, attempt: Attempt) -> None:
        """The cluster never heard of the attempt: the submit failed, or its sender was killed."""
        if job.state is State.STARTING and not self._pends_too_long(attempt):
            self._carry_out(job, Launch(attempt))
        elif job.state is State.STOPPING:
            self._end(job, None, "it had not begun")
        else:
            self._end(job, None, "Ray does not know the attempt")

    def _pends_too_long(self, attempt: Attempt) -> bool:
        return self._clock() > attempt.created_s + self._limits.pending_s

    def _bear_silence(self, job: Job, attempt: Attempt, error: str) -> None:
        self._complain(job.job_id, error)
        since = self._silent_since.setdefault(attempt.submission_id, self._clock())
        if self._clock() > since + self._limits.silent_s:
            self._end(job, None, f"its cluster has been silent for {self._limits.silent_s:g} s")

    def _ask_to_stop(self, job: Job) -> None:
        """Ask once, and again when the grace period went by without an end."""
        asked_s = self._stop_asked_s.get(job.last_attempt.submission_id)
        if asked_s is not None and self._clock() < asked_s + job.grace_s + _STOP_SLACK_S:
            return
        _, instructions = apply(job, StopRequested(self._clock()))
        for instruction in instructions:
            self._carry_out(job, instruction)

    def _end(self, job: Job, sighting: Sighting | None, lost: str = "") -> None:
        """Close the last attempt; whether another follows is the state machine's business."""
        attempt = job.last_attempt
        outcome = judge(sighting, read_result(Path(job.run_dir), attempt.number), lost)
        if sighting is not None:
            self._keep_output(job, attempt)
        signal = Ended(
            self._clock(),
            outcome.result,
            outcome.reason,
            outcome.exit_status,
            outcome.final,
            self._random.random(),
        )
        self._change(job, signal)

    def _keep_output(self, job: Job, attempt: Attempt) -> None:
        """What the driver printed, for the time when the cluster and its logs are gone."""
        try:
            text = self._launcher.output(attempt.submission_id)
            (Path(job.run_dir) / f"driver-{attempt.number}.txt").write_text(text)
        except (Unreachable, OSError) as error:
            self._complain(job.job_id, error)

    def _change(self, job: Job, signal: Signal) -> None:
        """Store first, then act: what is not stored must not happen."""
        changed, instructions = apply(job, signal)
        stored = self._store.replace(job, changed, self._epoch)
        self._say(f"{stored.job_id}: {stored.state}: {stored.reason}")
        for instruction in instructions:
            self._carry_out(stored, instruction)

    def _carry_out(self, job: Job, instruction: Instruction) -> None:
        submission_id = instruction.attempt.submission_id
        if isinstance(instruction, StopAttempt):
            self._launcher.stop(submission_id)
            self._stop_asked_s[submission_id] = self._clock()
            return
        try:
            self._prepare(job, self._store.job_file(job.job_id))
        except UserError as error:
            self._change(job, Ended(self._clock(), State.FAILED, str(error), final=True))
            return
        self._renew()  # a scheduler that was stopped just here must not start what another took over
        number = instruction.attempt.number
        self._launcher.submit(Start(submission_id, job.run_dir, number, job.grace_s))

    def _renew(self) -> None:
        self._store.change_lease(lambda lease: renew(lease, self._epoch, self._clock()))
        self._renewed_s = self._clock()

    def _guard(self, job_id: str, action: Callable[[], None]) -> None:
        """One job's trouble must not stop the others: say it once, and try again at the next turn."""
        try:
            action()
        except LeaseLost:
            raise
        except Conflict:
            pass  # somebody changed the job meanwhile: the next turn sees it as it is now
        except Exception as error:
            self._complain(job_id, error)

    def _complain(self, about: str, trouble: object) -> None:
        text = f"{about}: {trouble if isinstance(trouble, str) else f'{type(trouble).__name__}: {trouble}'}"
        if self._troubles.get(about) != text:
            self._troubles[about] = text
            self._say(text)

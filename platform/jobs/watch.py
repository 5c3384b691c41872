"""Looking after what runs: brings an active job up to what its cluster says."""

from dataclasses import dataclass, field

from covey.platform.jobs.executor import Executor
from covey.platform.jobs.job import ACTIVE, Attempt, Job, State
from covey.platform.jobs.launcher import Phase, Unreachable
from covey.platform.jobs.states import Launch, Started, StopRequested, apply

_STOP_SLACK_S = 15.0
"""On top of a job's grace period, for Ray to end what did not end by itself."""


@dataclass(frozen=True)
class Limits:
    """Patience, in seconds."""

    #: an attempt that has not begun to run by then is ended
    pending_s: float = 120
    #: attempts on a cluster that has not answered for so long are given up
    silent_s: float = 120


@dataclass
class Watch:
    """Follows attempts from one turn to the next."""

    executor: Executor
    limits: Limits = Limits()
    _begun_s: float = field(init=False)
    _silent_since_s: dict[str, float] = field(default_factory=dict)
    _stop_asked_s: dict[str, float] = field(default_factory=dict)
    #: when an attempt was last seen in its cluster's own queue
    _queued_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begun_s = self.executor.clock()

    def look(self, job_id: str) -> None:
        """See how the job's attempt is, and do what that asks for."""
        job = self.executor.store.get(job_id)
        if job.state not in ACTIVE:
            return
        launcher, attempt = self.executor.launcher, job.last_attempt
        if launcher.is_gone(attempt.cluster):
            self.executor.end(job, None, "the Ray cluster that it ran on is gone")
            return
        try:
            sighting = launcher.look(attempt.submission_id)
        except Unreachable as error:
            self._bear_silence(job, attempt, str(error))
            return
        self._silent_since_s.pop(attempt.submission_id, None)
        if sighting is not None and sighting.queued:
            self._queued_s[attempt.submission_id] = self.executor.clock()
        if sighting is None:
            self._handle_unknown(job, attempt)
        elif sighting.phase not in (Phase.PENDING, Phase.RUNNING):
            self.executor.end(job, sighting)
        elif sighting.phase is Phase.PENDING and self._pends_too_long(attempt):
            launcher.stop(attempt.submission_id)
            self.executor.end(job, None, f"did not begin within {self.limits.pending_s:g} s")
        elif job.state is State.STOPPING:
            self._ask_to_stop(job, attempt)
        elif job.state is State.STARTING and sighting.phase is Phase.RUNNING:
            self.executor.change(job, Started(self.executor.clock()))

    def _handle_unknown(self, job: Job, attempt: Attempt) -> None:
        """The cluster never heard of the attempt: the submit failed, or its sender was killed."""
        if self.executor.launcher.is_gone(attempt.cluster):
            self.executor.end(job, None, "the Ray cluster that it ran on is gone")
        elif job.state is State.STOPPING:
            begun = attempt.started_s is not None
            self.executor.end(job, None, "it was ended by force" if begun else "it had not begun")
        elif job.state is State.STARTING and not self._pends_too_long(attempt):
            self.executor.carry_out(job, Launch(attempt))
        else:
            self.executor.end(job, None, "the cluster does not know the attempt")

    def _pends_too_long(self, attempt: Attempt) -> bool:
        # Time without a scheduler is nobody's fault: nobody submitted the attempt meanwhile.
        queued_s = self._queued_s.get(attempt.submission_id, 0)
        since_s = max(attempt.created_s, self._begun_s, queued_s)
        return self.executor.clock() > since_s + self.limits.pending_s

    def _bear_silence(self, job: Job, attempt: Attempt, error: str) -> None:
        now_s = self.executor.clock()
        self.executor.complain(job.job_id, error)
        since_s = self._silent_since_s.setdefault(attempt.submission_id, now_s)
        if now_s > since_s + self.limits.silent_s:
            reason = f"its cluster has been silent for {self.limits.silent_s:g} s"
            self.executor.end(job, None, reason)

    def _ask_to_stop(self, job: Job, attempt: Attempt) -> None:
        """Ask once, and again when the grace period went by without an end."""
        now_s = self.executor.clock()
        asked_s = self._stop_asked_s.get(attempt.submission_id)
        if asked_s is not None and now_s < asked_s + job.grace_s + _STOP_SLACK_S:
            return
        _, instructions = apply(job, StopRequested(now_s))
        for instruction in instructions:
            self.executor.carry_out(job, instruction)
        self._stop_asked_s[attempt.submission_id] = now_s

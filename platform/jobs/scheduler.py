"""The scheduler's turn: look after what runs, wake what waits, admit what fits.

It remembers nothing that it could not read again from the store and the cluster, so one that was
killed is replaced by another at any moment. An attempt is stored as starting before it is
submitted; whoever finds one starting that the cluster does not know submits it under the same id,
and the cluster takes an id only once.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from covey.platform.jobs.admission import decide
from covey.platform.jobs.executor import Executor
from covey.platform.jobs.job import ACTIVE, Job, JobRow, State
from covey.platform.jobs.launcher import Cluster, Unreachable
from covey.platform.jobs.lease import RENEW_EVERY_S
from covey.platform.jobs.states import Admitted, Ready, Refused
from covey.platform.jobs.store import Conflict
from covey.platform.jobs.watch import Limits, Watch
from covey.platform.runs.fence import newest_attempt

_LOOK_AGAIN_S = 2.0
"""Between looks at the queue when nothing changed in it: a cluster may grow without a word."""


class Scheduler:
    """Works on the store by way of `executor`; raises LeaseLost when another took over."""

    def __init__(self, executor: Executor, limits: Limits | None = None) -> None:
        self._executor = executor
        self._store = executor.store
        self._clock = executor.clock
        self._watch = Watch(executor, limits or Limits())
        self._renewed_s = executor.clock()
        self._seen_revision = -1
        self._wake_s = 0.0
        self._unfinished = True

    def turn(self) -> bool:
        """Do all that can be done now; False when no unfinished job is left."""
        if self._clock() >= self._renewed_s + RENEW_EVERY_S:
            self._executor.renew()
            self._renewed_s = self._clock()
        active = self._store.rows(ACTIVE)
        for row in active:
            self._executor.guard(row.job_id, partial(self._watch.look, row.job_id))
        revision = self._store.revision()
        if revision != self._seen_revision or self._clock() >= self._wake_s:
            self._seen_revision = revision
            self._wake_s = self._clock() + _LOOK_AGAIN_S
            self._unfinished = self._move_up() or bool(active)
        return self._unfinished

    def _move_up(self) -> bool:
        """From waiting to queued to starting; whether there was anything to move."""
        waiting = self._store.rows({State.WAITING})
        known = self._store.states({job_id for row in waiting for job_id in row.after})
        for row in waiting:
            self._executor.guard(row.job_id, partial(self._wake, row, known))
        queued = self._store.rows({State.QUEUED})
        if queued:
            self._admit(queued)
        return bool(waiting or queued)

    def _admit(self, queued: list[JobRow]) -> None:
        try:
            cluster = self._executor.launcher.cluster()
        except Unreachable as error:
            self._executor.complain("the cluster", str(error))
            return
        if cluster is None:
            self._wake_s = 0  # it is coming up: ask at every turn
            return
        decision = decide(queued, self._store.rows(ACTIVE), cluster.total)
        for row in decision.impossible:
            self._executor.guard(row.job_id, partial(self._refuse, row, cluster))
        for row in decision.admitted:
            self._executor.guard(row.job_id, partial(self._start, row, cluster))

    def _refuse(self, row: JobRow, cluster: Cluster) -> None:
        reason = (
            f"asks for {row.cpus:g} CPUs and {row.gpus:g} GPUs, but the cluster has "
            f"{cluster.total.cpus:g} and {cluster.total.gpus:g} in all"
        )
        if cluster.fixed:
            self._executor.change(self._as_read(row), Refused(self._clock(), reason))
        else:
            self._executor.complain(row.job_id, reason)

    def _start(self, row: JobRow, cluster: Cluster) -> None:
        claimed = newest_attempt(Path(row.run_dir))
        signal = Admitted(self._clock(), cluster.cluster_id, claimed)
        self._executor.change(self._as_read(row), signal)

    def _wake(self, row: JobRow, known: Mapping[str, State]) -> None:
        """Queue a waiting job whose pause is over and whose dependencies have succeeded."""
        states = {job_id: known.get(job_id) for job_id in row.after}
        for job_id, state in states.items():
            if state in (State.FAILED, State.STOPPED, None):
                reason = f"comes after {job_id}, which {state or 'is not in the store'}"
                self._executor.change(self._as_read(row), Refused(self._clock(), reason))
                return
        if any(state is not State.SUCCEEDED for state in states.values()):
            return
        if self._clock() < row.not_before_s:
            self._wake_s = min(self._wake_s, row.not_before_s)
            return
        reason = "all that it comes after has succeeded" if states else "ready again"
        self._executor.change(self._as_read(row), Ready(self._clock(), reason))

    def _as_read(self, row: JobRow) -> Job:
        """The whole job; Conflict when it is no longer as the decision saw it."""
        job = self._store.get(row.job_id)
        if job.version != row.version:
            raise Conflict(row.job_id)
        return job

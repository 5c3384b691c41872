"""Who may start now: by priority, then age; all of a job or nothing; the first holds its place.

Pure, so a decision over thousands of jobs is a sort and a walk.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from covey.platform.jobs.job import JobRow

_ROUNDING = 1e-6
"""Fractions of a CPU are sums of floats: 0.1 ten times must still fit into 1."""


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs; a fraction is allowed, as in Ray."""

    cpus: float
    gpus: float

    def holds(self, job: JobRow) -> bool:
        """Whether all that the job asks for fits in."""
        return job.cpus <= self.cpus + _ROUNDING and job.gpus <= self.gpus + _ROUNDING

    def without(self, job: JobRow) -> "Capacity":
        """What is left beside that job."""
        return Capacity(self.cpus - job.cpus, self.gpus - job.gpus)


@dataclass(frozen=True)
class Decision:
    """`admitted` start now, in this order. `impossible` ask for more than the whole cluster has."""

    admitted: tuple[JobRow, ...]
    impossible: tuple[JobRow, ...]


def decide(queued: Iterable[JobRow], active: Iterable[JobRow], total: Capacity) -> Decision:
    """Who of the queued starts beside the active.

    A job that fits the cluster but not its free part ends the walk: nothing overtakes it, or a
    stream of small jobs could keep a large one waiting for ever. One that never fits is set aside.
    """
    free = total
    for job in active:
        free = free.without(job)
    admitted: list[JobRow] = []
    impossible: list[JobRow] = []
    held = False
    for job in sorted(queued, key=lambda job: (-job.priority, job.submitted_s, job.job_id)):
        if not total.holds(job):
            impossible.append(job)
        elif not held and free.holds(job):
            admitted.append(job)
            free = free.without(job)
        else:
            held = True
    return Decision(tuple(admitted), tuple(impossible))

"""Where jobs live: `SqliteStore` lasts, `MemoryStore` keeps the same contract in tests.

Every change goes the same way, here in the words of a client that stops a job:

    while True:
        job = store.get(job_id)
        changed, instructions = apply(job, StopRequested(now))
        try:
            store.replace(job, changed)   # one transaction: job, attempts and history together
            break
        except Conflict:
            continue                      # somebody else changed it first: look again
"""

from collections.abc import Callable, Collection
from typing import Protocol

from covey.platform.jobs.job import Job, JobRow, JobSummary, State
from covey.platform.jobs.lease import Lease

LeaseChange = Callable[[Lease | None], Lease | None]


class Conflict(Exception):
    """The job changed since it was read, or its id is taken."""


class UnknownJob(KeyError):
    """No job has that id or name."""


class JobStore(Protocol):
    """Jobs and the scheduler's lease. Safe to use from several processes at once."""

    def add(self, job: Job, job_file: str) -> None:
        """Keep a new job with its job file as JSON. Raises Conflict when the id is taken."""

    def get(self, job_id: str) -> Job:
        """The job with attempts and history. Raises UnknownJob."""

    def job_file(self, job_id: str) -> str:
        """The text given to `add`. Raises UnknownJob."""

    def find(self, reference: str) -> str:
        """The id meant by an id or a name (then the newest of that name). Raises UnknownJob."""

    def rows(self, states: Collection[State] = frozenset(State)) -> list[JobRow]:
        """All jobs in those states, oldest first."""

    def states(self, job_ids: Collection[str]) -> dict[str, State]:
        """Where those jobs stand, all at once; ids that are no job's are left out."""

    def summaries(self, newest: int | None = None) -> list[JobSummary]:
        """The newest jobs (None: all of them), oldest first."""

    def replace(self, old: Job, new: Job, epoch: int | None = None) -> Job:
        """Put `new` in the place of `old`, with new attempts and events; returns it as stored.

        Raises Conflict when the stored job is not of `old.version`, and LeaseLost when `epoch` is
        given (by the scheduler) and is not the lease's.
        """

    def revision(self) -> int:
        """Grows with every change of a job: the same number means that nothing changed."""

    def lease(self) -> Lease | None:
        """The lease as it stands, which may have run out."""

    def change_lease(self, change: LeaseChange) -> Lease | None:
        """Store what `change` makes of the lease (None: leave it) at once, and return that."""

    def close(self) -> None:
        """Let go of files and connections."""

"""The store's twin in memory, for tests: same contract, gone with the process."""

import threading
from collections.abc import Collection
from dataclasses import fields, replace

from covey.platform.jobs.job import Job, JobRow, JobSummary, State
from covey.platform.jobs.lease import Lease, LeaseLost
from covey.platform.jobs.store import Conflict, LeaseChange, UnknownJob


class MemoryStore:
    """Jobs in a dictionary, in the order in which they came."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._job_files: dict[str, str] = {}
        self._lease: Lease | None = None
        self._revision = 0
        self._lock = threading.Lock()

    def add(self, job: Job, job_file: str) -> None:
        with self._lock:
            if job.job_id in self._jobs:
                raise Conflict(job.job_id)
            self._jobs[job.job_id] = job
            self._job_files[job.job_id] = job_file
            self._revision += 1

    def get(self, job_id: str) -> Job:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise UnknownJob(job_id) from None

    def job_file(self, job_id: str) -> str:
        self.get(job_id)
        return self._job_files[job_id]

    def find(self, reference: str) -> str:
        if reference in self._jobs:
            return reference
        named = [job for job in self._jobs.values() if job.name == reference]
        if not named:
            raise UnknownJob(reference)
        return max(named, key=lambda job: job.submitted_s).job_id

    def rows(self, states: Collection[State] = frozenset(State)) -> list[JobRow]:
        jobs = sorted(self._jobs.values(), key=lambda job: job.submitted_s)
        return [_row(job) for job in jobs if job.state in states]

    def states(self, job_ids: Collection[str]) -> dict[str, State]:
        return {name: self._jobs[name].state for name in job_ids if name in self._jobs}

    def summaries(self, newest: int | None = None) -> list[JobSummary]:
        rows = self.rows()[-newest:] if newest else self.rows()
        return [JobSummary(*(getattr(row, name) for name in JobSummary._fields)) for row in rows]

    def replace(self, old: Job, new: Job, epoch: int | None = None) -> Job:
        with self._lock:
            if epoch is not None and (self._lease is None or self._lease.epoch != epoch):
                raise LeaseLost(f"epoch {epoch} is over; the store says {self._lease}")
            if self.get(old.job_id).version != old.version:
                raise Conflict(old.job_id)
            stored = replace(new, version=old.version + 1)
            self._jobs[old.job_id] = stored
            self._revision += 1
            return stored

    def revision(self) -> int:
        return self._revision

    def lease(self) -> Lease | None:
        return self._lease

    def change_lease(self, change: LeaseChange) -> Lease | None:
        with self._lock:
            changed = change(self._lease)
            self._lease = changed or self._lease
            return changed

    def close(self) -> None:
        """Nothing is open."""


def _row(job: Job) -> JobRow:
    return JobRow(**{field.name: getattr(job, field.name) for field in fields(JobRow)})

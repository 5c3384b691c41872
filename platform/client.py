"""Jobs from Python: the command line's verbs as methods.

    client = Client()
    job_id = client.submit("cartpole.yaml", ["stop.env_steps=100000"])
    client.start_scheduler()
    print(client.wait(job_id).state)

Everything goes through the store in COVEY_HOME: to submit or list needs no scheduler.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from covey.platform.environment import covey_home
from covey.platform.errors import UserError
from covey.platform.jobs.background import start_background_scheduler, store_path
from covey.platform.jobs.job import TERMINAL, Job, JobSummary
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.states import (
    ImpossibleTransition,
    Resumed,
    Signal,
    StopRequested,
    apply,
    new_job,
)
from covey.platform.jobs.store import Conflict, UnknownJob

if TYPE_CHECKING:
    from covey.platform.jobfile.model import JobFile

_POLL_S = 0.2
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


class Client:
    """The jobs of one COVEY_HOME. Close it, or use it in a `with` statement.

    Where a job is asked for, its id or its name will do; a name means the newest job of that name.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = (home or covey_home()).absolute()
        self._store = SqliteStore(store_path(self.home))

    def submit(
        self, job: "JobFile | Path | str | Mapping[str, object]", overrides: Sequence[str] = ()
    ) -> str:
        """Keep a job for the scheduler; returns its id. `job` is a path, plain data or a job file.

        Raises JobFileError for a wrong job, UserError for an unknown `after` or a full disk.
        """
        job_file = _read(job, overrides)
        after = tuple(self._find(reference) for reference in job_file.after)
        text = job_file.model_dump_json(by_alias=True, exclude_unset=True)
        while True:
            record = self._record(job_file, after)
            try:
                self._store.add(record, text)
                return record.job_id
            except Conflict:
                continue  # five letters met: take others

    def jobs(self, newest: int | None = None) -> list[JobSummary]:
        """The newest jobs (None: all of them), oldest first."""
        return self._store.summaries(newest)

    def show(self, job: str) -> Job:
        """A job with its attempts and history. UserError when there is none."""
        return self._store.get(self._find(job))

    def logs(self, job: str, follow: bool = False) -> Iterator[str]:
        """The lines of the run's log; with `follow` also those to come, until the job has ended."""
        job_id = self._find(job)
        log = Path(self._store.get(job_id).run_dir) / "log.txt"
        position = 0
        rest = b""
        while True:
            ended = not follow or self._store.get(job_id).state in TERMINAL
            if log.exists():
                with log.open("rb") as file:
                    file.seek(position)
                    chunk = file.read()
                position += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if ended:
                break
            time.sleep(_POLL_S)
        if rest:
            yield rest.decode(errors="replace")

    def stop(self, job: str) -> Job:
        """Ask a job to end: at once before it begins, else with its grace period.

        One that runs is ended by the scheduler: `start_scheduler` if none may be at work.
        """
        return self._signal(job, StopRequested(time.time()), "has already ended")

    def resume(self, job: str) -> Job:
        """Queue a failed or stopped job again, to go on from its last checkpoint."""
        return self._signal(job, Resumed(time.time()), "is not to be resumed")

    def wait(self, job: str, timeout_s: float | None = None) -> Job:
        """The job once it has ended. UserError when it has not within `timeout_s`."""
        job_id = self._find(job)
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (found := self._store.get(job_id)).state not in TERMINAL:
            if end_s is not None and time.monotonic() > end_s:
                raise UserError(f"job {job_id} is still {found.state} after {timeout_s:g} s")
            time.sleep(_POLL_S)
        return found

    def start_scheduler(self, address: str | None = None) -> bool:
        """Start a scheduler in the background unless one is at work; says whether it did.

        `address` names somebody's Ray cluster; None is a local head of our own.
        """
        return start_background_scheduler(self.home, address)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _signal(self, job: str, signal: Signal, refusal: str) -> Job:
        job_id = self._find(job)
        while True:
            found = self._store.get(job_id)
            try:
                changed, _ = apply(found, signal)  # the scheduler carries out what follows
            except ImpossibleTransition as error:
                raise UserError(f"job {job_id} {refusal}: it is {found.state}") from error
            if changed is found:
                return found
            try:
                return self._store.replace(found, changed)
            except Conflict:
                continue  # the scheduler changed it first: look again

    def _record(self, job_file: "JobFile", after: tuple[str, ...]) -> Job:
        suffix = "".join(secrets.choice(_ID_LETTERS) for _ in range(5))
        job_id = f"{job_file.name}-{suffix}"
        job = Job(
            job_id=job_id,
            name=job_file.name,
            run_dir=str(self.home / "runs" / job_id),
            submitted_s=time.time(),
            priority=job_file.priority,
            cpus=job_file.resources.cpus,
            gpus=job_file.resources.gpus,
            after=after,
            max_attempts=job_file.retries.max_attempts,
            backoff_s=job_file.retries.backoff_s,
            grace_s=job_file.grace_s,
        )
        return new_job(job)

    def _find(self, reference: str) -> str:
        try:
            return self._store.find(reference)
        except UnknownJob:
            raise UserError(f"there is no job {reference!r}; `covey jobs` lists them") from None


def _read(
    job: "JobFile | Path | str | Mapping[str, object]", overrides: Sequence[str]
) -> "JobFile":
    # Imported here: whoever only lists or stops jobs does without pydantic and YAML.
    from covey.platform.jobfile.load import load_job_file, parse_job_file
    from covey.platform.jobfile.model import JobFile

    if isinstance(job, str | Path):
        return load_job_file(Path(job), overrides)
    if overrides:
        raise UserError("overrides are for job files given as a path; change the data itself")
    return job if isinstance(job, JobFile) else parse_job_file(job, Path.cwd())

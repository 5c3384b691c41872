"""The job store in one SQLite file, shared by clients and the scheduler as processes of their own.

Write-ahead logging lets them read while one writes. A kill at any moment loses nothing that was
committed; a power failure may lose the last commits, but leaves the file whole.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

from covey.platform.errors import UserError
from covey.platform.jobs.job import Attempt, Event, Job, JobRow, JobSummary, State
from covey.platform.jobs.lease import Lease, LeaseLost
from covey.platform.jobs.process import ProcessIdentity
from covey.platform.jobs.store import Conflict, LeaseChange, UnknownJob
from covey.platform.jobs.store_errors import clear_errors
from covey.platform.jobs.tables import SCHEMA, VERSION, connect

_BUSY_TIMEOUT_S = 20.0
_STATES = {str(state): state for state in State}


def _columns(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass, which are the columns of its table."""
    return tuple(field.name for field in fields(kind))


_ROW = _columns(JobRow)
_AFTER, _STATE = _ROW.index("after"), _ROW.index("state")
_ATTEMPT, _EVENT = _columns(Attempt), _columns(Event)
_IDENTITY = _columns(ProcessIdentity)
_SELECT_ROWS = f"SELECT {', '.join(_ROW)} FROM jobs"


class SqliteStore:
    """See `JobStore`. Raises UserError for a file that is no store of ours, or a full disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one_at_a_time = threading.Lock()
        with clear_errors(self._path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(path, _BUSY_TIMEOUT_S)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def add(self, job: Job, job_file: str) -> None:
        with self._write() as connection:
            try:
                connection.execute(_insert("jobs", _ROW), _row_values(job))
            except sqlite3.IntegrityError as error:
                raise Conflict(job.job_id) from error
            connection.execute("INSERT INTO job_files VALUES (?, ?)", (job.job_id, job_file))
            self._add_history(connection, job, job.attempts, job.events)

    def get(self, job_id: str) -> Job:
        with self._read() as connection:
            found = connection.execute(f"{_SELECT_ROWS} WHERE job_id = ?", (job_id,)).fetchone()
            if found is None:
                raise UnknownJob(job_id)
            return Job(*_row_fields(found), **_history_of(connection, job_id))

    def job_file(self, job_id: str) -> str:
        return str(self._scalar("SELECT text FROM job_files WHERE job_id = ?", job_id))

    def find(self, reference: str) -> str:
        return str(
            self._scalar(
                "SELECT job_id FROM jobs WHERE job_id = ?1 OR name = ?1"
                " ORDER BY job_id = ?1 DESC, submitted_s DESC LIMIT 1",
                reference,
            )
        )

    def _scalar(self, statement: str, job: str) -> Any:
        """The one value asked for; UnknownJob when there is none."""
        with self._read() as connection:
            found = connection.execute(statement, (job,)).fetchone()
        if found is None:
            raise UnknownJob(job)
        return found[0]

    def rows(self, states: Collection[State] = frozenset(State)) -> list[JobRow]:
        wanted = ", ".join("?" * len(states))
        with self._read() as connection:
            found = connection.execute(
                f"{_SELECT_ROWS} WHERE state IN ({wanted}) ORDER BY submitted_s, job_id",
                [str(state) for state in states],
            ).fetchall()
        return [JobRow(*_row_fields(row)) for row in found]

    def states(self, job_ids: Collection[str]) -> dict[str, State]:
        # One parameter however many ids: SQLite takes no more than some thousands of them.
        with self._read() as connection:
            found = connection.execute(
                "SELECT job_id, state FROM jobs WHERE job_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(job_ids)),),
            ).fetchall()
        return {name: _STATES[state] for name, state in found}

    def summaries(self, newest: int | None = None) -> list[JobSummary]:
        with self._read() as connection:
            found = connection.execute(
                f"SELECT {', '.join(JobSummary._fields)} FROM jobs"
                " ORDER BY submitted_s DESC, job_id DESC LIMIT ?",
                (-1 if newest is None else newest,),
            ).fetchall()
        return [
            JobSummary(job_id, name, _STATES[state], *rest)
            for job_id, name, state, *rest in reversed(found)
        ]

    def replace(self, old: Job, new: Job, epoch: int | None = None) -> Job:
        stored = replace(new, version=old.version + 1)
        with self._write() as connection:
            lease = _read_lease(connection)
            if epoch is not None and (lease is None or lease.epoch != epoch):
                raise LeaseLost(f"epoch {epoch} is over")
            updated = connection.execute(
                f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _ROW)}"
                " WHERE job_id = ? AND version = ?",
                (*_row_values(stored), old.job_id, old.version),
            )
            if updated.rowcount != 1:
                raise Conflict(old.job_id)
            changed = [attempt for attempt in new.attempts if attempt not in old.attempts]
            self._add_history(connection, stored, changed, new.events[len(old.events) :])
        return stored

    def revision(self) -> int:
        with self._read() as connection:
            return int(connection.execute("SELECT number FROM revision").fetchone()[0])

    def lease(self) -> Lease | None:
        with self._read() as connection:
            return _read_lease(connection)

    def change_lease(self, change: LeaseChange) -> Lease | None:
        with self._write() as connection:
            current = _read_lease(connection)
            changed = change(current)
            if changed is not None and changed != current:
                connection.execute("DELETE FROM lease")
                values = (changed.epoch, *astuple(changed.holder), changed.address)
                statement = _insert("lease", ("epoch", *_IDENTITY, "address", "expires_s"))
                connection.execute(statement, (*values, changed.expires_s))
            return changed

    def close(self) -> None:
        self._connection.close()

    @staticmethod
    def _add_history(
        connection: sqlite3.Connection,
        job: Job,
        attempts: Collection[Attempt],
        events: Collection[Event],
    ) -> None:
        connection.executemany(
            _insert("attempts", ("job_id", *_ATTEMPT))
            + " ON CONFLICT (job_id, number) DO UPDATE SET "
            + ", ".join(f"{name} = excluded.{name}" for name in _ATTEMPT),
            [(job.job_id, *astuple(attempt)) for attempt in attempts],
        )
        connection.executemany(
            _insert("events", ("job_id", *_EVENT)),
            [(job.job_id, *astuple(event)) for event in events],
        )
        connection.execute("UPDATE revision SET number = number + 1")

    def _prepare(self) -> None:
        self._log_ahead()
        if (version := self._version()) == 0:
            with self._write() as connection:
                if self._version() == 0:  # else another process was first
                    for statement in SCHEMA:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={VERSION}")
        elif version != VERSION:
            raise UserError(
                f"{self._path}: written by another version of Covey (format {version}, here "
                f"{VERSION}); use that version, or another COVEY_HOME"
            )

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _log_ahead(self) -> None:
        """Switch to write-ahead logging; of several first users one may find the file locked."""
        for tries_left in range(100, -1, -1):
            try:
                self._connection.execute("PRAGMA journal_mode=WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or not tries_left:
                    raise
                time.sleep(0.05)

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        # Taking the lock later, at the first write, fails without waiting when another process
        # wrote meanwhile.
        return self._transaction("BEGIN IMMEDIATE")

    def _read(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._transaction("BEGIN")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with clear_errors(self._path), self._one_at_a_time:
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"


def _history_of(connection: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    attempts = connection.execute(
        f"SELECT {', '.join(_ATTEMPT)} FROM attempts WHERE job_id = ? ORDER BY number", (job_id,)
    )
    events = connection.execute(
        f"SELECT {', '.join(_EVENT)} FROM events WHERE job_id = ? ORDER BY id", (job_id,)
    )
    return {
        "attempts": tuple(Attempt(*row) for row in attempts),
        "events": tuple(Event(time_s, _STATES[state], *rest) for time_s, state, *rest in events),
    }


def _row_values(job: Job) -> list[Any]:
    values = [getattr(job, name) for name in _ROW]
    values[_AFTER], values[_STATE] = " ".join(job.after), str(job.state)
    return values


def _row_fields(row: Sequence[Any]) -> list[Any]:
    """The columns of a job as the fields of `JobRow`."""
    values = list(row)
    values[_AFTER] = tuple(values[_AFTER].split())
    values[_STATE] = _STATES[values[_STATE]]
    return values


def _read_lease(connection: sqlite3.Connection) -> Lease | None:
    columns = ", ".join(("epoch", *_IDENTITY, "address", "expires_s"))
    row = connection.execute(f"SELECT {columns} FROM lease").fetchone()
    if row is None:
        return None
    epoch, host, pid, started_s, address, expires_s = row
    return Lease(epoch, ProcessIdentity(host, pid, started_s), address, expires_s)

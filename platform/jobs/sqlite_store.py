"""The job store in one SQLite file, shared by clients and the scheduler as processes of their own.

Write-ahead logging lets them read while one writes. A kill at any moment loses nothing that was
committed; a power failure may lose the last commits, but leaves the file whole.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from covey.platform.errors import UserError
from covey.platform.jobs.job import Attempt, Event, Job, JobRow, JobSummary, State
from covey.platform.jobs.lease import Lease, LeaseLost
from covey.platform.jobs.process import ProcessIdentity
from covey.platform.jobs.store import Conflict, LeaseChange, UnknownJob
from covey.platform.jobs.store_errors import clear_errors
from covey.platform.jobs.tables import (
    ATTEMPTS,
    EVENTS,
    JOB_FILES,
    JOBS,
    LEASE,
    METADATA,
    REVISION,
    VERSION,
    open_engine,
)

_BUSY_TIMEOUT_S = 20.0
_COUNT_UP = update(REVISION).values(number=REVISION.c.number + 1)
_ROW_FIELDS = tuple(field.name for field in fields(JobRow))
_AFTER, _STATE = _ROW_FIELDS.index("after"), _ROW_FIELDS.index("state")
_STATES = {str(state): state for state in State}
assert tuple(JOBS.columns.keys()) == _ROW_FIELDS  # rows are read by position


class SqliteStore:
    """See `JobStore`. Raises UserError for a file that is no store of ours, or a full disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with clear_errors(self._path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = open_engine(str(path), _BUSY_TIMEOUT_S)
            self._prepare()

    def add(self, job: Job, job_file: str) -> None:
        with self._write() as connection:
            try:
                connection.execute(insert(JOBS), _row_values(job))
            except IntegrityError as error:
                raise Conflict(job.job_id) from error
            connection.execute(insert(JOB_FILES), {"job_id": job.job_id, "text": job_file})
            self._add_history(connection, job, job.attempts, job.events)

    def get(self, job_id: str) -> Job:
        with self._read() as connection:
            found = connection.execute(select(JOBS).where(JOBS.c.job_id == job_id)).first()
            if found is None:
                raise UnknownJob(job_id)
            return Job(*_row_fields(found), **_history_of(connection, job_id))

    def job_file(self, job_id: str) -> str:
        with self._read() as connection:
            found = connection.execute(_of_job(JOB_FILES, job_id)).first()
            if found is None:
                raise UnknownJob(job_id)
            return str(found.text)

    def find(self, reference: str) -> str:
        newest = select(JOBS.c.job_id).where(JOBS.c.name == reference)
        newest = newest.order_by(JOBS.c.submitted_s.desc()).limit(1)
        with self._read() as connection:
            exact = select(JOBS.c.job_id).where(JOBS.c.job_id == reference)
            found = connection.scalar(exact) or connection.scalar(newest)
        if found is None:
            raise UnknownJob(reference)
        return str(found)

    def rows(self, states: Collection[State] = frozenset(State)) -> list[JobRow]:
        wanted = select(JOBS).where(JOBS.c.state.in_([str(state) for state in states]))
        with self._read() as connection:
            found = connection.execute(wanted.order_by(JOBS.c.submitted_s, JOBS.c.job_id))
            return [JobRow(*_row_fields(row)) for row in found.fetchall()]

    def states(self, job_ids: Collection[str]) -> dict[str, State]:
        # One parameter however many ids: SQLite takes no more than some thousands of them.
        wanted = func.json_each(json.dumps(list(job_ids))).table_valued("value")
        named = select(JOBS.c.job_id, JOBS.c.state).where(JOBS.c.job_id.in_(select(wanted.c.value)))
        with self._read() as connection:
            return {name: _STATES[state] for name, state in connection.execute(named)}

    def summaries(self, newest: int | None = None) -> list[JobSummary]:
        columns = [JOBS.c[name] for name in JobSummary._fields]
        latest_first = select(*columns).order_by(JOBS.c.submitted_s.desc(), JOBS.c.job_id.desc())
        with self._read() as connection:
            found = connection.execute(latest_first.limit(newest)).fetchall()
        return [
            JobSummary(job_id, name, _STATES[state], *rest)
            for job_id, name, state, *rest in reversed(found)
        ]

    def replace(self, old: Job, new: Job, epoch: int | None = None) -> Job:
        stored = replace(new, version=old.version + 1)
        with self._write() as connection:
            if epoch is not None and connection.scalar(select(LEASE.c.epoch)) != epoch:
                raise LeaseLost(f"epoch {epoch} is over")
            same = (JOBS.c.job_id == old.job_id) & (JOBS.c.version == old.version)
            if (
                connection.execute(update(JOBS).where(same).values(_row_values(stored))).rowcount
                != 1
            ):
                raise Conflict(old.job_id)
            changed = [attempt for attempt in new.attempts if attempt not in old.attempts]
            self._add_history(connection, stored, changed, new.events[len(old.events) :])
        return stored

    def revision(self) -> int:
        with self._read() as connection:
            return int(connection.scalar(select(REVISION.c.number)) or 0)

    def lease(self) -> Lease | None:
        with self._read() as connection:
            return _read_lease(connection)

    def change_lease(self, change: LeaseChange) -> Lease | None:
        with self._write() as connection:
            current = _read_lease(connection)
            changed = change(current)
            if changed is not None and changed != current:
                values = {
                    "epoch": changed.epoch,
                    **asdict(changed.holder),
                    "address": changed.address,
                    "expires_s": changed.expires_s,
                }
                action = insert(LEASE) if current is None else update(LEASE)
                connection.execute(action.values(values))
            return changed

    def close(self) -> None:
        self._engine.dispose()

    @staticmethod
    def _add_history(
        connection: Connection, job: Job, attempts: Collection[Attempt], events: Collection[Event]
    ) -> None:
        for attempt in attempts:
            values = {"job_id": job.job_id, **asdict(attempt)}
            statement = upsert(ATTEMPTS).values(values)
            connection.execute(statement.on_conflict_do_update(["job_id", "number"], set_=values))
        if events:
            values_of_events = [{"job_id": job.job_id, **asdict(event)} for event in events]
            connection.execute(insert(EVENTS), values_of_events)
        connection.execute(_COUNT_UP)

    def _prepare(self) -> None:
        self._log_ahead()
        with self._engine.connect().execution_options(reading=True) as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if version == 0:
            self._create()
        elif version != VERSION:
            raise UserError(
                f"{self._path}: written by another version of Covey (format {version}, here "
                f"{VERSION}); use that version, or another COVEY_HOME"
            )

    def _log_ahead(self) -> None:
        """Switch to write-ahead logging; of several first users one may find the file locked."""
        connection = self._engine.raw_connection()
        try:
            for tries_left in range(100, -1, -1):
                try:
                    connection.cursor().execute("PRAGMA journal_mode=WAL").fetchall()
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or not tries_left:
                        raise
                    time.sleep(0.05)
        finally:
            connection.close()

    def _create(self) -> None:
        with self._engine.begin() as connection:
            if connection.exec_driver_sql("PRAGMA user_version").scalar_one():
                return  # another process was first
            METADATA.create_all(connection)
            connection.execute(insert(REVISION).values(number=0))
            connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with clear_errors(self._path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with (
            clear_errors(self._path),
            self._engine.connect().execution_options(reading=True) as connection,
        ):
            yield connection


def _of_job(table: Table, job_id: str) -> Select[Any]:
    return select(table).where(table.c.job_id == job_id)


def _history_of(connection: Connection, job_id: str) -> dict[str, Any]:
    attempts = connection.execute(_of_job(ATTEMPTS, job_id).order_by(ATTEMPTS.c.number))
    events = connection.execute(_of_job(EVENTS, job_id).order_by(EVENTS.c.id))
    return {
        "attempts": tuple(Attempt(*row[1:]) for row in attempts),
        "events": tuple(Event(row[2], State(row[3]), row[4], row[5]) for row in events),
    }


def _row_values(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in _ROW_FIELDS} | {"after": " ".join(job.after)}


def _row_fields(row: Row[Any]) -> list[Any]:
    """The columns of a job, which stand in the order of `JobRow`, as its fields."""
    values = list(row)
    values[_AFTER] = tuple(values[_AFTER].split())
    values[_STATE] = _STATES[values[_STATE]]
    return values


def _read_lease(connection: Connection) -> Lease | None:
    row = connection.execute(select(LEASE)).first()
    if row is None:
        return None
    holder = ProcessIdentity(row.host, row.pid, row.started_s)
    return Lease(row.epoch, holder, row.address, row.expires_s)

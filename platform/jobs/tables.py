"""The tables of the job store, and which version of them this is."""

import sqlite3
from pathlib import Path

VERSION = 1
"""Goes up with every change below; kept in the database's `user_version`."""

SCHEMA = (
    """CREATE TABLE jobs (
        job_id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        run_dir TEXT NOT NULL,
        submitted_s FLOAT NOT NULL,
        priority INTEGER NOT NULL,
        cpus FLOAT NOT NULL,
        gpus FLOAT NOT NULL,
        after TEXT NOT NULL,  -- job ids, separated by spaces
        max_attempts INTEGER NOT NULL,
        backoff_s FLOAT NOT NULL,
        grace_s FLOAT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        num_attempts INTEGER NOT NULL,
        forgiven_attempts INTEGER NOT NULL,
        not_before_s FLOAT NOT NULL,
        version INTEGER NOT NULL
    )""",
    "CREATE INDEX jobs_by_name ON jobs (name)",
    "CREATE INDEX jobs_by_state ON jobs (state)",
    "CREATE TABLE job_files (job_id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL)",
    """CREATE TABLE attempts (
        job_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        submission_id TEXT NOT NULL UNIQUE,
        cluster TEXT NOT NULL,
        created_s FLOAT NOT NULL,
        started_s FLOAT,
        ended_s FLOAT,
        exit_status INTEGER,
        reason TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    )""",
    """CREATE TABLE events (
        id INTEGER NOT NULL PRIMARY KEY,
        job_id TEXT NOT NULL,
        time_s FLOAT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        reason TEXT NOT NULL
    )""",
    "CREATE INDEX events_of_job ON events (job_id, id)",
    """CREATE TABLE lease (
        epoch INTEGER NOT NULL PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started_s FLOAT NOT NULL,
        address TEXT NOT NULL,
        expires_s FLOAT NOT NULL
    )""",
    "CREATE TABLE revision (number INTEGER NOT NULL)",
    "INSERT INTO revision VALUES (0)",
)


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection that begins no transaction by itself, for one thread at a time."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection

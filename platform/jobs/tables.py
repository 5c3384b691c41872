"""The tables of the job store, and which version of them this is."""

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)

VERSION = 1
"""Goes up with every change below; kept in the database's `user_version`."""

METADATA = MetaData()

JOBS = Table(
    "jobs",
    METADATA,
    Column("job_id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("run_dir", String, nullable=False),
    Column("submitted_s", Float, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("after", Text, nullable=False),  # job ids, separated by spaces
    Column("max_attempts", Integer, nullable=False),
    Column("backoff_s", Float, nullable=False),
    Column("grace_s", Float, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("num_attempts", Integer, nullable=False),
    Column("forgiven_attempts", Integer, nullable=False),
    Column("not_before_s", Float, nullable=False),
    Column("version", Integer, nullable=False),
)

JOB_FILES = Table(
    "job_files",
    METADATA,
    Column("job_id", String, primary_key=True),
    Column("text", Text, nullable=False),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("job_id", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("submission_id", String, nullable=False, unique=True),
    Column("cluster", String, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("started_s", Float),
    Column("ended_s", Float),
    Column("exit_status", Integer),
    Column("reason", Text, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("job_id", String, nullable=False),
    Column("time_s", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("events_of_job", "job_id", "id"),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("epoch", Integer, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_s", Float, nullable=False),
    Column("address", String, nullable=False),
    Column("expires_s", Float, nullable=False),
)

REVISION = Table("revision", METADATA, Column("number", Integer, nullable=False))


def open_engine(path: str, busy_timeout_s: float) -> Engine:
    """An engine whose transactions take the write lock at once, unless `reading` is an option.

    Taking it later, at the first write, fails without waiting when another process wrote meanwhile.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _on_connect(connection, record):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # we begin transactions ourselves, below
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection):  # type: ignore[no-untyped-def]
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine

"""The store's contract, over both stores; and what SQLite alone must do."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from covey.platform.errors import UserError
from covey.platform.jobs.job import Job, State
from covey.platform.jobs.lease import Lease, LeaseLost
from covey.platform.jobs.process import ProcessIdentity
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.states import Admitted, Started, StopRequested, apply, new_job
from covey.platform.jobs.store import Conflict, JobStore, UnknownJob

JOB = new_job(Job("a-1", "a", "/runs/a-1", submitted_s=1, after=("x-1", "y-2"), cpus=0.5))
LEASE = Lease(3, ProcessIdentity("here", 7, 1.5), "", expires_s=50)


def test_what_is_added_is_found(store: JobStore):
    store.add(JOB, "name: a")
    assert store.get("a-1") == JOB
    assert store.job_file("a-1") == "name: a"
    assert store.find("a") == store.find("a-1") == "a-1"
    with pytest.raises(Conflict):
        store.add(JOB, "name: b")
    for ask in (store.get, store.find, store.job_file):
        with pytest.raises(UnknownJob):
            ask("nobody")


def test_a_name_means_the_newest_job(store: JobStore):
    for number, time_s in ((1, 5.0), (2, 9.0), (3, 7.0)):
        store.add(replace(JOB, job_id=f"a-{number}", submitted_s=time_s), "")
    assert store.find("a") == "a-2"
    assert [row.job_id for row in store.rows()] == ["a-1", "a-3", "a-2"]
    assert [row.job_id for row in store.summaries()] == ["a-1", "a-3", "a-2"]
    assert [row.job_id for row in store.summaries(newest=2)] == ["a-3", "a-2"]


def test_states_of_many_jobs_are_read_at_once(store: JobStore):
    store.add(JOB, "")
    store.add(replace(JOB, job_id="a-2", state=State.FAILED), "")
    assert store.states(set()) == {}
    names = {f"x-{number}" for number in range(50_000)}
    assert store.states({"a-1", "a-2", *names}) == {"a-1": "waiting", "a-2": "failed"}


def test_a_summary_tells_what_the_job_does(store: JobStore):
    job = replace(JOB, state=State.RUNNING, reason="why", priority=3, num_attempts=2)
    store.add(job, "")
    (summary,) = store.summaries()
    assert summary._asdict() == {name: getattr(job, name) for name in summary._fields}


def test_a_change_keeps_attempts_and_history(store: JobStore):
    store.add(replace(JOB, state=State.QUEUED), "")
    job = store.get("a-1")
    for signal in (Admitted(2, "c"), Started(3), StopRequested(4)):
        changed, _ = apply(job, signal)
        job = store.replace(job, changed)
        assert store.get("a-1") == job
    assert len(job.attempts) == 1 and len(job.events) == 4
    assert [row.state for row in store.rows({State.STOPPING})] == ["stopping"]
    assert store.rows({State.QUEUED, State.WAITING}) == []


def test_of_two_writers_one_must_look_again(store: JobStore):
    store.add(JOB, "")
    first = second = store.get("a-1")
    store.replace(first, replace(first, reason="first"))
    with pytest.raises(Conflict):
        store.replace(second, replace(second, reason="second"))
    assert store.get("a-1").reason == "first"


def test_the_revision_grows_with_every_change(store: JobStore):
    seen = [store.revision()]
    store.add(JOB, "")
    seen.append(store.revision())
    job = store.get("a-1")
    store.replace(job, replace(job, reason="other"))
    seen.append(store.revision())
    assert seen == sorted(set(seen)) and store.revision() == seen[-1]


def test_a_scheduler_without_the_lease_cannot_write(store: JobStore):
    store.add(JOB, "")
    job = store.get("a-1")
    with pytest.raises(LeaseLost):
        store.replace(job, job, epoch=1)
    assert store.lease() is None
    assert store.change_lease(lambda lease: LEASE) == LEASE == store.lease()
    job = store.replace(job, job, epoch=3)
    store.change_lease(lambda lease: replace(LEASE, epoch=4))
    with pytest.raises(LeaseLost):
        store.replace(job, job, epoch=3)
    assert store.change_lease(lambda lease: None) is None
    assert store.lease() == replace(LEASE, epoch=4)


def test_many_writers_lose_nothing(store: JobStore):
    store.add(JOB, "")

    def stretch(_: int) -> None:
        while True:
            job = store.get("a-1")
            try:
                store.replace(job, replace(job, priority=job.priority + 1))
                return
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(stretch, range(40)))
    assert store.get("a-1").priority == 40


def test_processes_may_open_a_new_store_at_once(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from covey.platform.jobs.sqlite_store import SqliteStore\n"
        "SqliteStore(Path(sys.argv[1])).close()"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "covey.db")]) for _ in range(4)
    ]
    assert [child.wait() for child in children] == [0] * 4


def test_a_foreign_or_damaged_file_is_one_clear_line(tmp_path: Path):
    path = tmp_path / "covey.db"
    path.write_text("this is not a database, " * 100)
    with pytest.raises(UserError, match=r"covey.db: is not a job store"):
        SqliteStore(path)


def test_a_database_cut_short_is_one_clear_line(tmp_path: Path):
    path = tmp_path / "covey.db"
    whole = SqliteStore(path)
    for number in range(50):
        whole.add(replace(JOB, job_id=f"a-{number}"), "x" * 1000)
    whole.close()
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"covey.db"):
        cut = SqliteStore(path)
        try:
            cut.rows()
            cut.job_file("a-49")
        finally:
            cut.close()


def test_a_newer_store_is_left_alone(tmp_path: Path):
    path = tmp_path / "covey.db"
    store = SqliteStore(path)
    store._connection.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(UserError, match="another version of Covey"):
        SqliteStore(path)


def test_a_full_disk_is_one_clear_line(tmp_path: Path):
    store = SqliteStore(tmp_path / "covey.db")
    store._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(UserError, match="no room left on the disk"):
        for number in range(100):
            store.add(replace(JOB, job_id=f"a-{number}"), "x" * 10_000)
    store.close()

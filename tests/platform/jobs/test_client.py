"""The client over a real store, without a scheduler."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from covey.platform.client import Client
from covey.platform.errors import JobFileError, UserError
from covey.platform.jobs.daemon import make_run_folder, serve
from covey.platform.jobs.job import State
from covey.platform.jobs.launcher import MemoryLauncher, Phase
from covey.platform.jobs.lease import Lease
from covey.platform.jobs.memory_store import MemoryStore
from covey.platform.jobs.process import identify
from covey.platform.runs.folder import RunFolder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Client(tmp_path / "home") as opened:
        yield opened


def test_submit_list_show_stop_resume(client: Client, toy_job: dict[str, Any]):
    first = client.submit(toy_job)
    second = client.submit({**toy_job, "name": "later", "after": ["toy"], "priority": 5})
    assert first.startswith("toy-")
    assert [(row.job_id, row.state) for row in client.jobs()] == [
        (first, "queued"),
        (second, "waiting"),
    ]
    shown = client.show("later")
    assert (shown.priority, shown.after, shown.max_attempts) == (5, (first,), 3)
    assert shown.run_dir == str(client.home / "runs" / second)
    assert client.stop(first).state is State.STOPPED
    with pytest.raises(UserError, match=r"has already ended: it is stopped"):
        client.stop(first)
    assert client.resume(first).state is State.WAITING
    with pytest.raises(UserError, match=r"is not to be resumed: it is waiting"):
        client.resume(first)


def test_job_files_and_their_overrides(client: Client, toy_path: str, tmp_path: Path):
    file = tmp_path / "job.yaml"
    file.write_text("name: toy\nworkload: toy\nstop: {env_steps: 5}\n")
    job = client.show(client.submit(file, ["priority=3"]))
    assert job.priority == 3
    with pytest.raises(JobFileError, match="stop"):
        client.submit(file, ["stop=null"])


def test_references_to_no_job_are_refused(client: Client, toy_job: dict[str, Any]):
    with pytest.raises(UserError, match="there is no job 'nobody'"):
        client.submit({**toy_job, "after": ["nobody"]})
    for verb in (client.show, client.stop, client.resume, client.wait):
        with pytest.raises(UserError, match="there is no job 'nobody'"):
            verb("nobody")
    assert client.jobs() == []


def test_the_run_folder_holds_the_job_as_it_was_submitted(client: Client, toy_job: dict[str, Any]):
    job = client.show(client.submit(toy_job))
    text = client._store.job_file(job.job_id)
    make_run_folder(job, text)
    make_run_folder(job, text)  # a second attempt finds it
    assert RunFolder.open(Path(job.run_dir)).job().stop.env_steps == 10


def test_logs_are_followed_to_the_end_of_the_job(client: Client, toy_job: dict[str, Any]):
    job = client.show(client.submit(toy_job))
    log = Path(job.run_dir) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntw")
    lines = client.logs(job.job_id, follow=True)
    assert next(lines) == "one"
    log.write_text("one\ntwo\nthree")
    client.stop(job.job_id)
    assert list(lines) == ["two", "three"]
    assert list(client.logs(job.job_id)) == ["one", "two", "three"]


def test_waiting_has_a_limit(client: Client, toy_job: dict[str, Any]):
    job_id = client.submit(toy_job)
    with pytest.raises(UserError, match="is still queued after 0"):
        client.wait(job_id, timeout_s=0)


def test_many_jobs_are_submitted_and_listed_quickly(client: Client, toy_job: dict[str, Any]):
    seconds = []
    for _ in range(10):
        before = time.perf_counter()
        for _ in range(20):
            client.submit(toy_job)
        seconds.append(time.perf_counter() - before)
    assert median(seconds) < 0.5  # a fifth of that on a quiet machine
    assert len(client.jobs()) == 200


def test_a_scheduler_with_nothing_to_do_goes_home():
    store, launcher = MemoryStore(), MemoryLauncher()
    serve(store, launcher, threading.Event(), idle_s=0, say=lambda text: None)
    assert not launcher.up
    lease = store.lease()
    assert lease is not None and lease.expires_s == 0


def test_a_scheduler_asked_to_end_leaves_what_runs(tmp_path: Path, toy_job: dict[str, Any]):
    with Client(tmp_path) as client:
        job_id = client.submit(toy_job)
        launcher, stop = MemoryLauncher(), threading.Event()
        thread = threading.Thread(
            target=serve, args=(client._store, launcher, stop), kwargs={"say": lambda text: None}
        )
        thread.start()
        while not launcher.started:
            time.sleep(0.01)
        launcher.play(f"{job_id}-1", Phase.RUNNING)
        stop.set()
        thread.join()
        assert launcher.up and client.show(job_id).state in (State.STARTING, State.RUNNING)


def test_an_address_where_nothing_answers_is_told_at_once(client: Client):
    with pytest.raises(UserError, match=r"--address http://127.0.0.1:9: no Ray cluster answers"):
        client.start_scheduler("http://127.0.0.1:9")


def test_a_scheduler_for_another_cluster_is_not_taken_for_ours(client: Client):
    holder = identify(os.getpid())
    client._store.change_lease(lambda lease: Lease(1, holder, "", time.time() + 100))
    assert client.start_scheduler() is False
    with pytest.raises(UserError, match=r"at work for the local Ray head, not for .*http://x:1"):
        client.start_scheduler("http://x:1")

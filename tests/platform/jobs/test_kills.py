"""Real schedulers on a real Ray head, and what is left of jobs when processes are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from covey.platform.client import Client
from covey.platform.jobs.job import Job, State
from covey.platform.jobs.ray_head import RayHead

pytestmark = pytest.mark.ray

LIMIT_S = 480.0
"""Only ends a test that has failed: a busy machine takes minutes to start Ray."""
HALF = max(1, (os.cpu_count() or 1) // 2)
"""CPUs of a job of which exactly two fit."""


@dataclass
class Place:
    """A COVEY_HOME with schedulers as processes of their own."""

    home: Path
    toy_path: str
    schedulers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(self.home)

    def schedule(self, *options: str, **variables: str) -> subprocess.Popen[bytes]:
        """One as `covey submit` starts it; it ends when another is at work."""
        arguments = ["-m", "covey.platform.jobs.daemon", "--home", str(self.home), *options]
        return self._start(arguments, variables)

    def schedule_in_foreground(self) -> subprocess.Popen[bytes]:
        """One as `covey scheduler` runs it; it waits while another is at work."""
        code = "import sys, pathlib, covey.platform.jobs.daemon as daemon\n"
        code += "daemon.run_scheduler(pathlib.Path(sys.argv[1]), say=daemon._log)"
        return self._start(["-c", code, str(self.home)], {})

    def _start(self, arguments: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.home / "scheduler.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, "PYTHONPATH": self.toy_path, **variables},
                stdout=log,
                stderr=log,
            )
        self.schedulers.append(child)
        return child

    def kill(self, scheduler: subprocess.Popen[bytes]) -> None:
        scheduler.kill()
        scheduler.wait()
        self.schedulers.remove(scheduler)

    def end(self) -> None:
        for scheduler in self.schedulers:
            scheduler.terminate()
        for scheduler in self.schedulers:
            scheduler.wait()
        self.schedulers.clear()

    def log(self) -> str:
        return (self.home / "scheduler.log").read_text()


def until(condition: Callable[[], object], place: Place) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, place.log()[-3000:]
        time.sleep(0.05)


def begun(job: Job) -> list[str]:
    """A line for each attempt that really ran."""
    return (Path(job.run_dir) / "begun.txt").read_text().splitlines()


def has_checkpoint(job: Job, step: int) -> bool:
    latest = Path(job.run_dir) / "checkpoints" / "latest"
    return latest.exists() and int(os.readlink(latest)) == step


def step_of(job: Job) -> int:
    metrics = Path(job.run_dir) / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("home")
    yield path
    RayHead(path, lambda text: None).stop()


@pytest.fixture
def place(home: Path, toy_path: str) -> Iterator[Place]:
    opened = Place(home, toy_path)
    yield opened
    for job in opened.client.jobs():  # what a failed test left running
        if job.state not in ("succeeded", "failed", "stopped"):
            opened.client.stop(job.job_id)
    for scheduler in list(opened.schedulers):
        opened.kill(scheduler)  # so the head stays for the next test
    opened.client.close()


@pytest.fixture
def half_job(toy_job: dict[str, Any]) -> dict[str, Any]:
    return {**toy_job, "resources": {"cpus": HALF}}


def test_a_killed_scheduler_is_replaced_and_every_job_runs_once(
    place: Place, half_job: dict[str, Any]
):
    go = place.home / "go"
    half_job["toy"] = {"wait_for": str(go)}
    first = place.schedule()
    ids = [place.client.submit(half_job) for _ in range(4)]
    until(lambda: [place.client.show(job).state for job in ids[:2]] == ["running"] * 2, place)
    assert [place.client.show(job).state for job in ids[2:]] == ["queued"] * 2
    second = place.schedule_in_foreground()
    until(lambda: "another scheduler is at work" in place.log(), place)
    assert place.schedule().wait() == 0  # in the background, one is enough
    assert "lease 2" not in place.log()
    place.kill(first)
    until(lambda: f"scheduling (process {second.pid}, lease 2)" in place.log(), place)
    go.touch()
    jobs = [place.client.wait(job, LIMIT_S) for job in ids]
    assert [job.state for job in jobs] == ["succeeded"] * 4
    assert [begun(job) for job in jobs] == [["1 from 0"]] * 4
    assert second.poll() is None


def test_four_jobs_each_with_its_own_trouble(place: Place, toy_job: dict[str, Any]):
    """Side by side, to save time: a killed driver, a stop and resume, a mistake, a crash."""
    place.schedule()
    toy_job["resources"] = {"cpus": 0.1}
    waiting = {**toy_job, "toy": {"wait_for": str(place.home / "never")}}
    mistake = place.client.submit({**toy_job, "toy": {"trouble": "mistake"}})
    crash = place.client.submit({**toy_job, "toy": {"trouble": "crash"}})
    killed = place.client.submit(waiting)
    stopped = place.client.submit({**waiting, "checkpoint": {"every_env_steps": 1000}})

    until(lambda: step_of(place.client.show(stopped)) == 5, place)
    place.client.stop(stopped)
    until(lambda: has_checkpoint(place.client.show(killed), 5), place)
    kill_driver(place.client.show(killed).run_dir)
    job = place.client.wait(stopped, LIMIT_S)
    assert job.state is State.STOPPED
    place.client.resume(stopped)

    job = place.client.wait(mistake, LIMIT_S)
    assert (job.state, job.num_attempts, job.reason) == ("failed", 1, "a mistake was asked for")
    job = place.client.wait(crash, LIMIT_S)
    assert (job.state, job.num_attempts) == ("succeeded", 2)
    assert "a crash was asked for" in job.attempts[0].reason
    assert "a crash was asked for" in (Path(job.run_dir) / "driver-1.txt").read_text()
    job = place.client.wait(killed, LIMIT_S)
    assert job.state is State.SUCCEEDED and step_of(job) == 10
    assert job.attempts[0].reason == "the driver was killed by signal 9"
    assert begun(job) == ["1 from 0", "2 from 5"]
    job = place.client.wait(stopped, LIMIT_S)
    assert job.state is State.SUCCEEDED
    assert begun(job) == ["1 from 0", "2 from 5"]


def kill_driver(run_dir: str) -> None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        if "covey.platform.driver" in command and run_dir in command:
            process.kill()


@pytest.mark.slow
def test_twenty_random_kills(place: Place, half_job: dict[str, Any]):
    """Submit, run, stop, with the scheduler killed again and again; no job is lost or run twice."""
    choose = random.Random(11)
    ids: list[str] = []
    for _ in range(20):
        scheduler = place.schedule()
        ids += [place.client.submit(half_job) for _ in range(2)]
        if choose.random() < 0.5:
            place.client.stop(ids[-1])
        time.sleep(choose.uniform(0.5, 4))
        place.kill(scheduler)
    place.schedule()
    jobs = [place.client.wait(job_id, LIMIT_S) for job_id in ids]
    for job in jobs:
        stop_asked = any(event.reason == "stop requested" for event in job.events)
        assert job.state == "succeeded" or (job.state == "stopped" and stop_asked), job
        assert job.num_attempts <= 1
        if job.state == "succeeded":
            assert begun(job) == ["1 from 0"]


@pytest.mark.slow
def test_a_killed_head_costs_an_attempt(place: Place, toy_job: dict[str, Any]):
    place.schedule()
    job_id = place.client.submit({**toy_job, "toy": {"wait_for": str(place.home / "never")}})
    until(lambda: has_checkpoint(place.client.show(job_id), 5), place)
    os.killpg(int((place.home / "ray" / "head.pid").read_text()), signal.SIGKILL)
    job = place.client.wait(job_id, LIMIT_S)
    assert (job.state, job.num_attempts) == ("succeeded", 2)
    assert "gone" in job.attempts[0].reason
    assert begun(job)[1] == "2 from 5"


def test_another_home_can_join_the_head_by_address(
    place: Place, tmp_path: Path, toy_job: dict[str, Any]
):
    place.schedule()
    job_id = place.client.submit(toy_job)  # so that there is a head
    until(lambda: place.client.show(job_id).state not in ("queued", "starting"), place)
    record = RayHead(place.home).record()
    assert record is not None
    other = Place(tmp_path, place.toy_path)
    try:
        refused = other.schedule("--address", record.url)
        assert refused.wait() == 2
        assert "refused our token" in other.log().splitlines()[-1]
        wrong = other.schedule("--address", "http://127.0.0.1:9")
        assert wrong.wait() == 2
        assert "no Ray cluster answers" in other.log().splitlines()[-1]
        token = str(place.home / "ray" / "token")
        other.schedule("--address", record.url, RAY_AUTH_TOKEN_PATH=token)
        job = other.client.wait(other.client.submit(toy_job), LIMIT_S)
        assert job.state is State.SUCCEEDED
        assert job.last_attempt.cluster.startswith("session_")
    finally:
        other.end()
        other.client.close()
    assert RayHead(place.home).record() == record


def test_a_clean_exit_stops_the_head_only_when_nothing_runs(place: Place, toy_job: dict[str, Any]):
    place.schedule()
    job_id = place.client.submit({**toy_job, "stop": {"env_steps": 1000}})
    until(lambda: place.client.show(job_id).state is State.RUNNING, place)
    place.end()
    assert RayHead(place.home).record() is not None
    place.schedule()
    place.client.stop(job_id)
    assert place.client.wait(job_id, LIMIT_S).state is State.STOPPED
    place.end()
    assert RayHead(place.home).record() is None

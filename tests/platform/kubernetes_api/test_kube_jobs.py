"""Real schedulers and real drivers on the stand-in for a cluster, killed and cut off."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kube_place import ADDRESS, LIMIT_S, NAMESPACE, Place, begun, write_kubeconfig

from covey.platform.errors import UserError
from covey.platform.jobs.job import State

ROLE = {
    ("get", "namespaces"),
    *((verb, "rayjobs") for verb in ("create", "get", "list", "watch", "delete")),
    ("list", "pods"),
    ("get", "pods/log"),
}
"""All that a scheduler asks for."""


@pytest.fixture
def held_job(toy_job, place):
    """One that counts to five and waits there for the file `go`."""
    return {**toy_job, "toy": {"wait_for": str(place.home / "go")}}


def has_checkpoint(place: Place, job_id: str) -> bool:
    return (Path(place.client.show(job_id).run_dir) / "checkpoints" / "latest").exists()


def steps(place: Place, job_id: str) -> int:
    metrics = Path(place.client.show(job_id).run_dir) / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def test_five_jobs_each_with_its_own_trouble(place: Place, toy_job, held_job):
    """Side by side, to save time: a killed driver, a RayJob that somebody deletes, a stop and
    resume, a mistake, a plain end.
    """
    scheduler = place.schedule()
    plain = place.client.submit(toy_job)
    mistake = place.client.submit({**toy_job, "toy": {"trouble": "mistake"}})
    killed = place.client.submit(held_job)
    deleted = place.client.submit(held_job)
    stopped = place.client.submit({**held_job, "checkpoint": {"every_env_steps": 1000}})

    for job_id in (killed, deleted):
        place.until(lambda job_id=job_id: has_checkpoint(place, job_id))
    place.until(lambda: steps(place, stopped) == 5)
    assert not has_checkpoint(place, stopped)
    place.until(lambda: place.client.show(stopped).state is State.RUNNING)
    place.client.stop(stopped)
    place.operator.kill(f"{killed}-1")
    place.api.objects.delete("rayjobs", NAMESPACE, f"{deleted}-1")
    place.operator.kill(f"{deleted}-1")
    job = place.client.wait(stopped, LIMIT_S)
    assert (job.state, job.reason) == ("stopped", "stop requested")
    assert has_checkpoint(place, stopped)
    place.client.resume(stopped)

    job = place.client.wait(plain, LIMIT_S)
    assert (job.state, job.num_attempts, begun(job)) == ("succeeded", 1, ["1 from 0"])
    assert job.last_attempt.cluster == "kubernetes-uid-of-lab"
    job = place.client.wait(mistake, LIMIT_S)
    assert (job.state, job.num_attempts, job.reason) == ("failed", 1, "a mistake was asked for")
    assert "a mistake was asked for" in (Path(job.run_dir) / "driver-1.txt").read_text()
    for job_id in (killed, deleted, stopped):
        job = place.client.wait(job_id, LIMIT_S)
        assert job.state is State.SUCCEEDED
        assert begun(job) == ["1 from 0", "2 from 5"]
    assert place.client.show(killed).attempts[0].reason == "the driver was killed by signal 9"
    scheduler.terminate()
    assert scheduler.wait() == 0
    assert place.ray_jobs() == []
    assert set(place.api.asked) == ROLE


def test_a_scheduler_that_was_killed_finds_its_jobs_again(place: Place, held_job):
    """Killed before the operator saw the job, and again while it runs, the server down meanwhile;
    then the answer to a create is lost.
    """
    place.operator.asleep = True
    place.api.answers_to_lose = 1
    first = place.schedule()
    job_id = place.client.submit(held_job)
    place.until(lambda: place.api.created)
    kill(first)
    second = place.schedule()
    place.operator.asleep = False
    place.until(lambda: place.client.show(job_id).state is State.RUNNING)
    kill(second)
    with pytest.raises(UserError, match=rf"{job_id}: still active on Kubernetes \({ADDRESS}\)"):
        place.client.start_scheduler()
    place.api.stop()
    place.until(lambda: has_checkpoint(place, job_id))
    place.api.start()
    assert place.client.start_scheduler(ADDRESS)
    place.until(lambda: "lease 3" in place.log())
    (place.home / "go").touch()
    job = place.client.wait(job_id, LIMIT_S)
    assert (job.state, job.num_attempts, begun(job)) == ("succeeded", 1, ["1 from 0"])
    assert place.api.created == [f"{job_id}-1"]
    assert place.operator.started == {f"{job_id}-1": 1}


def kill(scheduler: subprocess.Popen[bytes]) -> None:
    scheduler.kill()
    scheduler.wait()


@pytest.mark.slow
def test_twenty_random_troubles(place: Place, toy_job):
    """Schedulers are killed, watches cut, answers lost, histories forgotten and servers away, again
    and again: no job is lost, and none is run twice.
    """
    choose = random.Random(7)
    ids: list[str] = []
    troubles = [
        place.api.cut_watches,
        place.api.objects.forget,
        lambda: setattr(place.api, "answers_to_lose", 1),
        place.api.stop,
        lambda: None,
    ]
    for _ in range(20):
        scheduler = place.schedule()
        ids += [place.client.submit(toy_job) for _ in range(2)]
        time.sleep(choose.uniform(0, 4))
        choose.choice(troubles)()
        if choose.random() < 0.3:
            place.client.stop(ids[-1])
        time.sleep(choose.uniform(0, 2))
        kill(scheduler)
        if not place.api.listens:
            place.api.start()
    place.schedule()
    for job_id in ids:
        job = place.client.wait(job_id, 10 * LIMIT_S)
        stop_asked = any(event.reason == "stop requested" for event in job.events)
        assert job.state == "succeeded" or (job.state == "stopped" and stop_asked), job
        assert job.num_attempts <= 1
        if job.state == "succeeded":
            assert begun(job) == ["1 from 0"]
    assert len(place.api.created) == len(set(place.api.created))
    assert set(place.operator.started.values()) == {1}
    place.until(lambda: place.ray_jobs() == [])


def test_a_token_that_is_refused_is_one_line(place: Place, tmp_path: Path):
    write_kubeconfig(tmp_path / "kubeconfig", place.api.url, "wrong")
    command = [sys.executable, "-m", "covey.platform.cli", "scheduler", "--address", ADDRESS]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert refused.returncode == 2
    assert refused.stderr == ("covey: namespace lab: Kubernetes' API server refuses our token\n")

"""The launcher for Kubernetes, with the official client, on the stand-in for an API server."""

import time
from pathlib import Path

import pytest
from kube_objects import Refusal
from kube_place import NAMESPACE, begun, until

from covey.platform.jobs.launcher import CannotStart, Phase, Start, Unreachable

WATCH, LIST = ("watch", "rayjobs"), ("list", "rayjobs")


@pytest.fixture
def held_job(toy_job, place):
    """One that counts to five and waits there until it is asked to stop."""
    return {**toy_job, "toy": {"wait_for": str(place.home / "never")}}


def test_an_answer_that_was_lost_and_one_more_try_start_one(attempts, toy_job, place):
    place.operator.asleep = True
    start = attempts.start(toy_job)
    assert attempts.launcher.look(start.submission_id) is None
    place.api.answers_to_lose = 1
    attempts.launcher.submit(start)  # it looked, and found it
    assert attempts.phase(start) is Phase.PENDING
    attempts.launcher.submit(start)
    assert place.api.created == [start.submission_id]
    attempts.another().submit(start)  # another process of the same store
    assert place.api.created == [start.submission_id]


def test_a_foreign_ray_job_of_that_name_is_told_from_ours(attempts, toy_job, place):
    start = attempts.start(toy_job)
    place.operator.asleep = True
    attempts.launcher.submit(start)
    theirs = place.api.objects.get("rayjobs", NAMESPACE, start.submission_id)
    place.api.objects.delete("rayjobs", NAMESPACE, start.submission_id)
    theirs["metadata"]["labels"]["covey/store"] = "another"
    place.api.objects.create("rayjobs", NAMESPACE, theirs)
    until(lambda: attempts.launcher.look(start.submission_id) is None)
    with pytest.raises(CannotStart, match=rf"a RayJob {start.submission_id} is in namespace lab"):
        attempts.launcher.submit(start)
    attempts.launcher.stop(start.submission_id)
    assert place.ray_jobs() == [start.submission_id]


def test_what_the_server_refuses_is_not_tried_again(attempts, toy_job, place, tmp_path):
    start = attempts.start({**toy_job, "kubernetes": {"namespace": "elsewhere"}})
    with pytest.raises(CannotStart, match=r"kubernetes\.namespace: elsewhere"):
        attempts.launcher.submit(start)
    code = tmp_path.parent / f"{tmp_path.name}-code"
    code.mkdir()
    with pytest.raises(CannotStart, match="is not on the claim"):
        attempts.launcher.submit(attempts.start({**toy_job, "code": str(code)}))

    def refuse(*_):
        raise Refusal(422, "Invalid", "RayJob is invalid: spec")

    place.api.create = refuse
    with pytest.raises(CannotStart, match="Kubernetes refuses its RayJob: RayJob is invalid"):
        attempts.launcher.submit(attempts.start(toy_job))
    assert place.ray_jobs() == []


def test_a_watch_that_is_cut_or_too_old_goes_on(attempts, toy_job, place):
    place.operator.asleep = True
    start = attempts.start(toy_job)
    attempts.launcher.submit(start)
    attempts.until(start, Phase.PENDING)
    asked = place.api.asked
    until(lambda: asked[WATCH] > 0)
    place.api.cut_watches()
    watches = asked[WATCH]
    until(lambda: asked[WATCH] > watches)
    assert asked[LIST] == 2  # the first looks whether it may; went on from where it was
    place.api.objects.forget()
    until(lambda: asked[LIST] == 3)  # 410: listed anew
    watches = asked[WATCH]
    until(lambda: asked[WATCH] > watches)
    gets = asked["get", "rayjobs"]
    set_status(place, start, jobDeploymentStatus="Running", jobStatus="RUNNING")
    attempts.until(start, Phase.RUNNING)
    assert asked["get", "rayjobs"] == gets  # the watch told it


def set_status(place, start, **status):
    patch = {"status": status}
    place.api.objects.patch("rayjobs", NAMESPACE, start.submission_id, patch, "status")


def test_a_silent_server_is_no_news(attempts, toy_job, place):
    place.operator.asleep = True
    start = attempts.start(toy_job)
    attempts.launcher.submit(start)
    place.api.stop()
    until(lambda: raises_unreachable(attempts, start))
    with pytest.raises(Unreachable):
        attempts.launcher.submit(attempts.start(toy_job))
    set_status(place, start, jobDeploymentStatus="Running", jobStatus="RUNNING")
    place.api.start()
    until(lambda: not raises_unreachable(attempts, start))
    assert attempts.phase(start) is Phase.RUNNING


def raises_unreachable(attempts, start):
    try:
        attempts.launcher.look(start.submission_id)
    except Unreachable:
        return True
    return False


def test_a_job_waits_in_kueues_queue_and_is_over_when_its_place_is_taken(attempts, held_job, place):
    start = attempts.start({**held_job, "kubernetes": {"queue": "team"}})
    attempts.launcher.submit(start)
    name = start.submission_id
    until(lambda: attempts.launcher.look(name).queued)
    assert attempts.phase(start) is Phase.PENDING
    place.api.objects.patch("rayjobs", NAMESPACE, name, {"spec": {"suspend": False}})
    until(lambda: begun(place.client.show("toy")))
    assert not attempts.launcher.look(name).queued
    place.api.objects.patch("rayjobs", NAMESPACE, name, {"spec": {"suspend": True}})
    attempts.until(start, Phase.FAILED)
    assert "others needed its place" in attempts.launcher.look(name).message


def test_what_has_not_begun_is_deleted_and_what_has_ended_too(attempts, toy_job, place):
    place.operator.asleep = True
    first, second = attempts.start(toy_job), attempts.start(toy_job)
    attempts.launcher.submit(first)
    attempts.launcher.submit(second)
    attempts.launcher.stop(first.submission_id)
    until(lambda: attempts.launcher.look(first.submission_id) is None)
    set_status(place, second, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    attempts.until(second, Phase.SUCCEEDED)
    watches = place.api.asked[WATCH]
    until(lambda: place.api.asked[WATCH] > watches + 1)
    assert place.ray_jobs() == [second.submission_id]  # its end is not stored yet
    attempts.ended.add((second.submission_id.rpartition("-")[0], 1))
    until(lambda: place.ray_jobs() == [])
    assert attempts.said == []


def test_one_that_heeds_no_request_is_ended(attempts, held_job, place):
    start = attempts.start(held_job)
    start = Start(start.submission_id, start.run_dir, 1, grace_s=0.1)
    attempts.launcher.submit(start)
    until(lambda: begun(place.client.show("toy")))
    place.operator.running[start.submission_id].process.send_signal(19)  # SIGSTOP: it hears nothing
    attempts.launcher.stop(start.submission_id)
    assert place.ray_jobs() == [start.submission_id]
    time.sleep(0.2)
    attempts.launcher.stop(start.submission_id)
    place.operator.kill(start.submission_id)
    until(lambda: attempts.launcher.look(start.submission_id) is None)


def test_the_end_of_a_log_is_what_the_driver_said(attempts, toy_job, place):
    start = attempts.start({**toy_job, "toy": {"trouble": "mistake"}})
    attempts.launcher.submit(start)
    assert attempts.launcher.output("another-1") == ""
    attempts.until(start, Phase.FAILED)
    sighting = attempts.launcher.look(start.submission_id)
    assert sighting.exit_status == 2
    assert "a mistake was asked for" in attempts.launcher.output(start.submission_id)
    long = place.api.logs[f"{start.submission_id}-abcde"]
    long.write_bytes(b"x" * 99 + b"\n" + b"a line of a log\n" * 200_000)
    text = attempts.launcher.output(start.submission_id)
    assert 300_000 < len(text) <= 2**20 and text.endswith("a line of a log\n")
    assert Path(start.run_dir, "result.json").exists()

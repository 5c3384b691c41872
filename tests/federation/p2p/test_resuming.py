"""Runs that stop and go on end with the very bytes of one that did not."""

import multiprocessing
import os
import signal
import time

import pytest
from peer_jobs import METHODS, MOVING

from covey.federation.p2p.learners import MODEL
from covey.platform.driver import run_attempt


@pytest.mark.parametrize("method", METHODS)
def test_resuming_ends_with_the_same_bytes(train, create, finish, method):
    keys = {"method": method, "local": MOVING, **METHODS[method]}
    whole = train(rounds=6, **keys)
    path = create(rounds=3, **keys)
    finish(path)
    text = (path / "job.yaml").read_text()
    (path / "job.yaml").write_text(text.replace("rounds: 3", "rounds: 6"))
    again = finish(path)
    assert sorted(os.listdir(path / "checkpoints" / "latest")) == sorted(
        os.listdir(whole.path / "checkpoints" / "latest")
    )
    for part in os.listdir(path / "checkpoints" / "latest"):
        if part.endswith(".safetensors"):
            assert again.part(part) == whole.part(part)
    drop = ("wall_s", "round_s")
    lines = [{k: v for k, v in line.items() if k not in drop} for line in again.metrics]
    assert lines == [{k: v for k, v in line.items() if k not in drop} for line in whole.metrics]


def test_kill_9_changes_nothing(train, create):
    keys = {"rounds": 40, "job": {"checkpoint": {"every_rounds": 3}}, "local": MOVING}
    whole, exit_status = train(**keys), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["covey.federation.p2p.job", "covey.platform.driver"])
    for _ in range(10):  # on a busy machine a run may be over before it is killed
        path = create(**keys)
        exit_status = killed(context, path)
        if exit_status != 0:
            break
    assert exit_status == -signal.SIGKILL
    assert run_attempt(path).state == "succeeded"
    latest = path / "checkpoints" / "latest"
    assert (latest / MODEL).read_bytes() == whole.part(MODEL)


def killed(context, path):
    """The exit status of a run that is killed once it has a checkpoint."""
    process = context.Process(target=run_attempt, args=(path,))
    process.start()
    deadline = time.monotonic() + 300
    while not (path / "checkpoints" / "latest").exists() and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode

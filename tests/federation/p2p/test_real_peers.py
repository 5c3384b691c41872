"""Engine `grpc`: a job whose peers are Ray actors, killed and started again."""

import os
import signal

import numpy as np
import pytest
from job_process import LONG_S
from loopback import wait_for

from covey.platform.exit_status import ExitStatus
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import live_writer

pytestmark = pytest.mark.ray
LOCAL = {"steps": 40, "batch_size": 10, "learning_rate": 0.05, "momentum": 0.5}
MLP = {"app": "mlp", "hidden": 16, "local": LOCAL, "peers": 4}


@pytest.fixture
def start(start_job):
    return lambda **keys: start_job(**{**MLP, **keys})


def test_a_job_has_the_figures_of_the_batched_engine(start, train):
    keys = {"rounds": 4, "precision": "float64", "evaluate_every": 2}
    job = start(**keys)
    batched, real = train(**MLP, **keys), job.end()
    for name in ("accuracy", "accuracy_min", "accuracy_max", "accuracy_local", "train_loss"):
        np.testing.assert_allclose(real.column(name), batched.column(name), rtol=1e-9)
    assert real.column("disagreement") == pytest.approx(batched.column("disagreement")[-1:])
    # A header comes with each vector.
    sizes = zip(real.column("bytes_per_peer"), batched.column("bytes_per_peer"), strict=True)
    assert all(0 < one - other < 400 * 4 for one, other in sizes)
    assert real.column("messages_per_peer")[1:] == batched.column("messages_per_peer") == [2] * 4
    assert (real.path / "peers.json").exists()
    assert not list((real.path / "peers").rglob("*.png"))  # the job's own pictures show them
    listed = (real.path / "peers" / "attempt-1" / "peers.yaml").read_text()
    assert listed.count("address: 127.0.0.1:") == 4  # all are on this node


@pytest.mark.slow
def test_ends_at_an_accuracy_of_the_mean(start):
    run = start(job={"stop": {"rounds": 100_000, "accuracy": 0.6}}).end()
    assert "accuracy" in run.result["reason"] and run.metrics[-1]["accuracy"] > 0.5
    assert run.metrics[-1]["step"] < 100


@pytest.mark.slow
def test_a_killed_peer_and_a_killed_job(start):
    job = start(rounds=100_000, job={"checkpoint": {"every_rounds": 5}})
    wait_for(lambda: len(job.lines()) >= 10, LONG_S)
    os.kill(live_writer(job.homes[2]), signal.SIGKILL)
    wait_for(lambda: job.said("peer_failed"), LONG_S)
    seen = len(job.lines())
    wait_for(lambda: len(job.lines()) >= seen + 10, LONG_S)
    assert '"peers": 3' in job.lines()[-1]
    job.kill()
    wait_for(lambda: not any(map(live_writer, job.homes)), LONG_S)  # nobody is left behind

    steps = [RunFolder.open(home).newest_checkpoint().step for home in job.homes]
    assert min(steps) >= 5 and steps[2] < steps[0]
    job.resume()
    wait_for(
        lambda: '"peers": 4' in "".join(job.lines()[-1:]) and live_writer(job.homes[2]), LONG_S
    )
    wait_for(lambda: job.said("caught_up", peer=2), LONG_S)
    newest = max(steps) + 5
    reached = f'{{"step": {newest},'
    wait_for(lambda: all(reached in "".join(job.lines(peer=k)) for k in range(4)), LONG_S)
    job.process.send_signal(signal.SIGTERM)
    said, _ = job.process.communicate(timeout=LONG_S)
    assert job.process.returncode == ExitStatus.STOPPED, said
    assert f"goes on from step {steps[0]}" in "".join(job.lines("events.jsonl", peer=0))
    for home in job.homes:
        assert RunFolder.open(home).newest_checkpoint().step >= newest
    arrays = RunFolder.open(job.path).newest_checkpoint().arrays("model.safetensors")
    assert {len(array) for array in arrays.values()} == {4}

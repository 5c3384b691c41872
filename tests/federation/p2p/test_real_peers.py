"""Engine `grpc`: a job whose peers are processes, killed and started again."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from loopback import wait_for

from covey.platform.exit_status import ExitStatus
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import live_writer

LOCAL = {"steps": 40, "batch_size": 10, "learning_rate": 0.05, "momentum": 0.5}
MLP = {"app": "mlp", "hidden": 16, "local": LOCAL, "peers": 4, "engine": "grpc"}


def test_a_job_has_the_figures_of_the_batched_engine(train):
    keys = {**MLP, "rounds": 4, "precision": "float64", "evaluate_every": 2}
    real, batched = train(**keys), train(**{**keys, "engine": "batched"})
    for name in ("accuracy", "accuracy_min", "accuracy_max", "accuracy_local", "train_loss"):
        np.testing.assert_allclose(real.column(name), batched.column(name), rtol=1e-9)
    assert real.column("disagreement") == pytest.approx(batched.column("disagreement")[-1:])
    # A header comes with each vector.
    sizes = zip(real.column("bytes_per_peer"), batched.column("bytes_per_peer"), strict=True)
    assert all(0 < one - other < 400 * 4 for one, other in sizes)
    assert real.column("messages_per_peer")[1:] == batched.column("messages_per_peer") == [2] * 4
    table = RunFolder.open(real.path).path / "peers.json"
    assert table.exists()


def test_ends_at_an_accuracy_of_the_mean(train):
    run = train(**MLP, job={"stop": {"rounds": 100_000, "accuracy": 0.6}})
    assert "accuracy" in run.result["reason"] and run.metrics[-1]["accuracy"] > 0.5
    assert run.metrics[-1]["step"] < 100


def test_a_killed_peer_and_a_killed_job(create, tmp_path):
    path = create(**{**MLP, "rounds": 100_000, "job": {"checkpoint": {"every_rounds": 5}}})
    homes = [path / "peers" / f"peer-{number}" for number in range(4)]

    def lines(folder, name="metrics.jsonl"):
        file = folder / name
        return file.read_text().splitlines() if file.exists() else []

    def resume():
        command = [sys.executable, "-m", "covey.platform.cli", "resume", str(path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    job = resume()
    wait_for(lambda: len(lines(path)) >= 10, limit_s=90)
    os.kill(live_writer(homes[2]), signal.SIGKILL)
    wait_for(lambda: "peer_failed" in "\n".join(lines(path, "events.jsonl")), limit_s=30)
    seen = len(lines(path))
    wait_for(lambda: len(lines(path)) >= seen + 10, limit_s=60)
    assert '"peers": 3' in lines(path)[-1]
    job.kill()
    job.communicate()
    wait_for(lambda: not any(map(live_writer, homes)), limit_s=20)  # nobody is left behind

    steps = [RunFolder.open(home).newest_checkpoint().step for home in homes]
    assert min(steps) >= 5 and steps[2] < steps[0]
    job = resume()
    wait_for(lambda: '"peers": 4' in "".join(lines(path)[-1:]) and live_writer(homes[2]), 90)
    wait_for(lambda: "caught_up" in "\n".join(lines(homes[2], "events.jsonl")), limit_s=60)
    newest = max(steps) + 5
    wait_for(lambda: all(f'{{"step": {newest},' in "".join(lines(home)) for home in homes), 60)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == ExitStatus.STOPPED, said
    events = "\n".join(lines(homes[0], "events.jsonl"))
    assert f"goes on from step {steps[0]}" in events
    for home in homes:
        assert RunFolder.open(home).newest_checkpoint().step >= newest
    arrays = RunFolder.open(path).newest_checkpoint().arrays("model.safetensors")
    assert {len(array) for array in arrays.values()} == {4}

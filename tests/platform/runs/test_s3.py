"""Runs whose checkpoints are in an S3-compatible store: killed, cut off, turned away."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from s3_server import S3Server

from covey.platform.driver import run_attempt
from covey.platform.errors import UserError
from covey.platform.exit_status import ExitStatus
from covey.platform.policy import load_policy
from covey.platform.runs import object_store
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run

pytestmark = pytest.mark.xdist_group("s3")

JOB = """
name: cartpole
workload: rl
seed: 7
deterministic: true
checkpoint: {every_env_steps: 256, keep: 2}
stop: {env_steps: 10_000_000}
rl:
  algorithm: {name: ppo, rollout_steps: 32, minibatch_size: 128, epochs: 2, threads: 1}
  env: {id: CartPole-v1}
  sampling: {samplers: 0, envs_per_sampler: 8}
"""


def covey(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "covey.platform.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_killed_and_resumed_from_the_store_bit_for_bit(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    run = ("run", tmp_path / "job.yaml", "--run-dir")
    killed = covey(*run, tmp_path / "killed", "--set", f"checkpoint.path={bucket}/runs")
    wait_until(lambda: "checkpoint" in kinds(tmp_path / "killed"), killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    left = RunFolder(tmp_path / "killed").newest_checkpoint().step
    assert left >= 256
    assert not list((tmp_path / "killed" / "checkpoints").glob("[0-9l]*")), "none is left here"

    stop = ("--set", f"stop.env_steps={left + 512}")
    whole = covey(*run, tmp_path / "whole", *stop)
    resumed = covey("resume", tmp_path / "killed", *stop)
    for process in (whole, resumed):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    [restored] = [e for e in events(tmp_path / "killed") if e["kind"] == "restored"]
    assert restored["step"] == left
    assert parts(tmp_path / "killed") == parts(tmp_path / "whole")
    assert policy_actions(tmp_path / "killed") == policy_actions(tmp_path / "whole")


def test_training_goes_on_while_the_store_is_out_of_reach(
    folder_in: Callable[[str], RunFolder],
    bucket: str,
    s3: S3Server,
    write_steps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = folder_in(bucket)
    run = Run.claim(folder.path)
    run.restore()
    write_steps(run, 10)
    monkeypatch.setattr(object_store, "PAUSES_S", (0.1,))
    s3.cut(True)
    try:
        write_steps(run, 20)
        run.report(25, {"loss": 0.5})
        with pytest.raises(UserError, match="no checkpoint can be read: s3://"):
            folder.newest_checkpoint()
        with pytest.raises(OSError, match="s3://"):  # it may pass: the job is tried again
            Run.claim(folder.path).restore()
    finally:
        s3.cut(False)
    [said] = [e for e in events(folder.path) if e["kind"] == "checkpoint-failed"]
    assert said["step"] == 20 and "s3://" in said["message"]
    run = Run.claim(folder.path)
    assert run.restore().step == 10
    write_steps(run, 30)
    assert folder.newest_checkpoint().step == 30


@pytest.mark.slow
def test_a_large_part_goes_in_pieces(folder_in: Callable[[str], RunFolder], bucket: str) -> None:
    run = Run.claim(folder_in(bucket).path)
    run.restore()
    weights = np.arange(30_000_000, dtype=np.float32)
    run.checkpoint(1, {"model.safetensors": {"weights": weights}})
    run._writer.wait()
    restored = Run.claim(run.path).restore()
    assert np.array_equal(restored.arrays("model.safetensors")["weights"], weights)


def test_no_such_bucket(folder_in: Callable[[str], RunFolder], s3: S3Server) -> None:
    folder = folder_in("s3://no-such-bucket")
    end = run_attempt(folder.path)
    assert (end.state, end.exit_status) == ("failed", ExitStatus.USER_MISTAKE)
    assert end.error is not None and "\n" not in end.error
    assert end.error.startswith("checkpoint.path s3://no-such-bucket/runs/toy-")
    assert end.error.endswith("The specified bucket does not exist")
    assert json.loads(folder.result.read_text())["error"] == end.error


def test_wrong_credentials(folder_in: Callable[[str], RunFolder], bucket: str, s3) -> None:
    run = Run.claim(folder_in(bucket).path)
    s3.ask_for_credentials(strictly=True)
    try:
        with pytest.raises(UserError, match=r"checkpoint\.path s3://.*Access Key"):
            run.restore()
    finally:
        s3.ask_for_credentials(strictly=False)


def test_no_credentials(
    folder_in: Callable[[str], RunFolder],
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = fsspec.get_filesystem_class("s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    files.clear_instance_cache()
    try:
        with pytest.raises(UserError, match=r"checkpoint\.path s3://.*credentials"):
            Run.claim(folder_in(bucket).path).restore()
    finally:
        files.clear_instance_cache()


@pytest.fixture
def folder_in(tmp_path: Path, make_job) -> Callable[[str], RunFolder]:
    def make(bucket: str) -> RunFolder:
        return RunFolder.create(tmp_path / "run", make_job(checkpoint={"path": f"{bucket}/runs"}))

    return make


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 300
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def parts(run_dir: Path) -> dict[str, str]:
    """The SHA-256 of each part of the newest checkpoint."""
    checkpoint = RunFolder(run_dir).newest_checkpoint()
    return {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in checkpoint.path.iterdir()
        if file.name != "manifest.json"  # it holds the wall clock's seconds
    }


def policy_actions(run_dir: Path) -> list[int]:
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    return [int(action) for action in load_policy(run_dir).act(observations)]


def kinds(run_dir: Path) -> list[str]:
    return [event["kind"] for event in events(run_dir)]


def events(run_dir: Path) -> list[dict[str, Any]]:
    file = run_dir / "events.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]

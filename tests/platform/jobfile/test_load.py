"""Reading a file: what is in it, and what can be wrong before its first key is looked at."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import load_job_file, parse_job_file

Problems = Callable[..., list[str]]


def test_a_job_file_is_read_with_its_defaults(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    job = load_job_file(job_file(orchard_text))
    assert (job.name, job.seed, job.stop.rounds, job.checkpoint.every_s) == ("apples-1", 0, 3, 60)
    assert job.section.algorithm.depth == 2
    assert job.section.algorithm.seasons == (1, 2)


def test_a_checkpoint_rule_of_ones_own_replaces_the_minute(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    job = load_job_file(job_file(orchard_text + "checkpoint: {every_rounds: 5}\n"))
    assert (job.checkpoint.every_s, job.checkpoint.every_rounds) == (None, 5)


def test_code_is_a_folder_beside_the_job_file(
    job_file: Callable[[str], Path],
    orchard_text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "mine").mkdir()
    path = job_file(orchard_text + "code: ./mine\n")
    monkeypatch.chdir(tmp_path)
    assert load_job_file(path).code == str(tmp_path / "mine")
    assert load_job_file(Path(path.name)).code == str(tmp_path / "mine")


def test_code_that_is_not_there_names_the_nearest_folder(
    problems: Problems, orchard_text: str, tmp_path: Path
) -> None:
    (tmp_path / "my_project").mkdir()
    [line] = problems(orchard_text + "code: ./my_projct\n")
    assert line == (
        "job.yaml:9: code: found './my_projct', allowed is a folder that exists, "
        f"relative to {tmp_path}; nearest is my_project"
    )
    assert problems(orchard_text + "code: job.yaml\n") == [
        "job.yaml:9: code: found 'job.yaml', which is no folder"
    ]
    assert len(problems(orchard_text + f"code: {'x' * 5000}\n")) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "job.yaml:1: top level: found nothing, allowed are keys such as"),
        (b"# only a comment\n", "job.yaml:1: top level: found nothing, allowed are keys such as"),
        (b"- a\n- b\n", "job.yaml:1: top level: found a list, allowed are keys such as"),
        (b"train it\n", "job.yaml:1: top level: found 'train it', allowed are keys such as"),
        (b"a: 1\nb: \xff\n", "job.yaml:2: not UTF-8 text"),
        ("a: 1".encode("utf-16"), "job.yaml:1: not UTF-8 text"),
        (b"a: 1\nb: \x00", "job.yaml:2: not text: it holds the character U+0000"),
        (b"\x7fELF\x02\x01\x01", "job.yaml:1: not text: it holds the character U+007F"),
        (b"a:\n\tb: 1\n", "job.yaml:2: a tab cannot indent YAML, use spaces"),
        (b"a: 1\n---\nb: 2\n", "job.yaml:2: a second document begins here"),
        (b"a: [1, 2\n", "job.yaml:2: not YAML: "),
        (b"a: *nobody\n", "job.yaml:1: not YAML: found undefined alias"),
        (b"[" * 100_000, "job.yaml:1: nested deeper than 40 levels"),
        (b"a: &a {b: *a}\n", "job.yaml:1: nested deeper than 40 levels"),
        (b"a: [" + b"1, " * 20_000 + b"]", "job.yaml:1: more than 10000 keys and values"),
        (b"#" * (2**20 + 1), "job.yaml: larger than 1048576 bytes"),
    ],
)
def test_what_is_no_job_file_at_all_is_one_line(
    problems: Problems, content: bytes, reason: str
) -> None:
    [line] = problems(content)
    assert line.startswith(reason)


def test_an_alias_bomb_is_refused_before_it_grows(problems: Problems) -> None:
    rows = ["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    for before, after in zip("abcdefgh", "bcdefghi", strict=True):
        rows.append(f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]")
    [line] = problems("\n".join(rows))
    assert "more than 10000 keys and values (aliases count each time)" in line


def test_paths_that_hold_no_file(tmp_path: Path) -> None:
    (tmp_path / "cartpole.yaml").touch()
    for path, reason in {
        tmp_path: "a folder, no job file; job files in it: cartpole.yaml",
        tmp_path / "cartpol.yaml": "no such file; nearest is cartpole.yaml",
        tmp_path / "none" / "job.yaml": "no such file",
        tmp_path / "cartpole.yaml" / "x": "cannot be read: Not a directory",
        tmp_path / ("x" * 300): "cannot be read: File name too long",
        Path("a\0b"): "cannot be read: embedded null byte",
    }.items():
        with pytest.raises(JobFileError) as caught:
            load_job_file(path)
        assert caught.value.problems == (f"{path}: {reason}",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(job_file: Callable[[str], Path], orchard_text: str) -> None:
    path = job_file(orchard_text)
    path.chmod(0)
    with pytest.raises(JobFileError, match="cannot be read: Permission denied"):
        load_job_file(path)


def test_plain_data_is_checked_like_a_file(tmp_path: Path) -> None:
    data = {
        "name": "apples",
        "workload": "tree-growing",
        "stop": {"rounds": 3},
        "tree-growing": {
            "algorithm": {"name": "prune", "seasons": (1, 4)},
            "weather": {"id": "rain"},
        },
    }
    assert parse_job_file(data, tmp_path).section.algorithm.seasons == (1, 4)
    loop: dict[str, object] = {}
    loop["x"] = loop
    with pytest.raises(JobFileError) as caught:
        parse_job_file(
            {**data, "seed": object(), 3: 4, "code": tmp_path, "x": loop}, tmp_path, "mine"
        )
    text = "\n".join(caught.value.problems)
    assert "mine: seed: found a Python object, allowed are text, numbers" in text
    assert "mine: top level: found the key 3, allowed are text keys" in text
    assert "mine: code: found a Python PosixPath" in text
    assert "mine: x: nested deeper than 40 levels" in text or "mine: x.x" in text
    with pytest.raises(JobFileError, match="mine: top level: found a list, allowed is a mapping"):
        parse_job_file([1], tmp_path, "mine")  # type: ignore[arg-type]

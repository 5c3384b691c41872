"""What a cluster is sent with a job, and where the job finds it there."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobs.launcher import CannotStart
from covey.platform.jobs.shipping import shipped
from covey.platform.runs.folder import RunFolder
from covey.platform.sent_folders import PACKAGE, here, is_here, show_code


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The user's folder, with code and an app."""
    for name in ("code", "app"):
        (tmp_path / "mine" / name / "deep").mkdir(parents=True)
        (tmp_path / "mine" / name / "deep" / f"{name}_module.py").touch()
    (tmp_path / "mine" / "app" / "pyproject.toml").write_text("[project]\n")
    return tmp_path / "mine"


@pytest.fixture
def run_dir(toy_job: dict[str, Any], mine: Path, tmp_path: Path) -> Path:
    document = toy_job | {"code": "code", "toy": {"module": str(mine / "app")}}
    return RunFolder.create(tmp_path / "run", parse_job_file(document, mine)).path


@pytest.fixture
def arrived(run_dir: Path, mine: Path, tmp_path: Path) -> Iterator[Path]:
    """On another machine: what was sent is on the import path, the user's folder is not there."""
    there = tmp_path / "there"
    with shipped(run_dir) as parts:
        shutil.copytree(str(parts["working_dir"]), there / "code")
        (package,) = (one for one in parts["py_modules"] if Path(one).name == PACKAGE)
        shutil.copytree(package, there / "modules" / PACKAGE)
    assert not Path(package).exists()
    shutil.rmtree(mine)
    kept = list(sys.path)
    sys.path[:0] = [str(there / "code"), str(there / "modules")]
    yield there
    sys.path[:] = kept


def test_the_app_is_found_where_it_was_put(arrived: Path, mine: Path) -> None:
    assert here(mine / "app").is_relative_to(arrived)
    assert (here(mine / "app") / "deep" / "app_module.py").is_file()
    assert is_here(mine / "app") and not is_here(mine / "other")
    assert here(mine / "other") == mine / "other"


def test_the_code_is_on_the_path_already(arrived: Path, mine: Path) -> None:
    """What lies under its old path, on this machine, may be another version of it."""
    assert is_here(mine / "code")
    (mine / "code").mkdir(parents=True)
    show_code(str(mine / "code"))
    assert str(mine / "code") not in sys.path
    show_code(str(mine / "other"))
    assert sys.path[0] == str(mine / "other")


def test_the_job_can_be_read_there(arrived: Path, run_dir: Path, mine: Path) -> None:
    assert RunFolder.open(run_dir).job().code == str(mine / "code")


def test_an_app_that_is_the_code_goes_as_both(
    toy_job: dict[str, Any], mine: Path, tmp_path: Path
) -> None:
    document = toy_job | {"code": "app", "toy": {"module": str(mine / "app")}}
    run_dir = RunFolder.create(tmp_path / "run", parse_job_file(document, mine)).path
    with shipped(run_dir) as parts:
        assert parts["working_dir"] == str(mine / "app")
        assert (Path(parts["py_modules"][-1]) / "app-0" / "pyproject.toml").is_file()


def test_nothing_but_covey_goes_with_a_job_without_code(
    toy_job: dict[str, Any], tmp_path: Path
) -> None:
    run_dir = RunFolder.create(tmp_path / "run", parse_job_file(toy_job, tmp_path)).path
    with shipped(run_dir) as parts:
        assert "working_dir" not in parts
        assert PACKAGE not in {Path(one).name for one in parts["py_modules"]}


def test_code_that_is_gone_ends_the_job(run_dir: Path, mine: Path) -> None:
    """Also where an earlier attempt has had it."""
    shutil.rmtree(mine)
    with pytest.raises(CannotStart, match=r"on the scheduler's machine .*: code: found"):
        with shipped(run_dir):
            pass
    with pytest.raises(UserError):
        RunFolder.open(run_dir).job()

"""A user's mistake is one clear line on standard error, and an exit status that is not 0."""

import os
from pathlib import Path

import pytest

from .conftest import Covey

LONG = "x" * 300


@pytest.mark.parametrize("path", ["/dev/null/run", f"/tmp/{LONG}", f"/dev/null/{LONG}/run"])
def test_a_run_folder_that_cannot_be(covey: Covey, job_file: Path, path: str) -> None:
    answer = covey("run", job_file, "--run-dir", path)
    assert answer.exit_status != 0 and answer.out == ""
    assert len(answer.err.splitlines()) == 1 and path in answer.err


@pytest.mark.parametrize("verb", ["run FILE", "submit FILE", "jobs", "show a", "scheduler"])
def test_a_home_that_cannot_be(covey: Covey, job_file: Path, verb: str) -> None:
    os.environ["COVEY_HOME"] = "/dev/null"
    answer = covey(*verb.replace("FILE", str(job_file)).split())
    assert answer.exit_status != 0 and answer.out == ""
    assert len(answer.err.splitlines()) == 1 and "/dev/null" in answer.err


@pytest.mark.parametrize("verb", ["resume", "evaluate", "plot"])
def test_a_run_that_is_not_there(covey: Covey, verb: str) -> None:
    for name in ("nobody", LONG):
        answer = covey(verb, name)
        assert answer.exit_status == 2 and answer.out == ""
        assert len(answer.err.splitlines()) == 1 and name in answer.err


@pytest.mark.parametrize("verb", ["show", "stop", "logs"])
def test_a_job_that_is_not_there(covey: Covey, verb: str) -> None:
    answer = covey(verb, "nobody")
    assert (answer.exit_status, answer.out) == (2, "")
    assert answer.err == "covey: there is no job 'nobody'; `covey jobs` lists them\n"

"""What we start imports nothing from the folder in which somebody called `covey`."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from covey.platform.environment import prepare_libraries
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobs.background import start_background_scheduler, stop_scheduler
from covey.platform.jobs.launcher import Start
from covey.platform.jobs.ray_api import entrypoint
from covey.platform.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("traps")


def test_the_scheduler_starts(tmp_path: Path):
    home = tmp_path / "home"
    assert start_background_scheduler(home)
    log = home / "scheduler.log"
    end_s = time.monotonic() + 300
    while "lease 1" not in log.read_text():
        assert time.monotonic() < end_s and "Traceback" not in log.read_text(), log.read_text()
        time.sleep(0.05)
    assert stop_scheduler(home)


def test_a_driver_runs_the_jobs_own_code_and_nothing_else(
    toy_job: dict[str, Any], toy_path: str, tmp_path: Path
):
    """The workload is found on PYTHONPATH, the job's code in its `code:` folder."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "orchard_of_mine.py").write_text("FRUIT = 3\n")
    job = {**toy_job, "code": str(code), "toy": {"step_s": 0, "module": "orchard_of_mine"}}
    path = RunFolder.create(tmp_path / "run", parse_job_file(job, tmp_path)).path
    driver = subprocess.run(
        ["/bin/sh", "-c", entrypoint(Start("toy-1", str(path), 1, 5))],
        env={**os.environ, "PYTHONPATH": toy_path},
        capture_output=True,
        text=True,
    )
    assert driver.returncode == 0, driver.stderr
    assert json.loads((path / "result.json").read_text())["state"] == "succeeded"


def test_a_token_named_by_a_relative_path_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "token")
    prepare_libraries()
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")

"""A job in a process of its own, watched and disturbed from outside."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

SCRIPT = (
    "import sys; from pathlib import Path; from covey.platform.driver import run_attempt\n"
    "outcome = run_attempt(Path(sys.argv[1])); print(outcome); sys.exit(outcome.exit_status)"
)


def start(path: Path, home: Path, section: dict, steps: int, **more) -> subprocess.Popen:
    job = {"name": "test", "workload": "rl", "stop": {"env_steps": steps}, "rl": section, **more}
    RunFolder.create(path, parse_job_file(job, Path.cwd()))
    return go_on(path, home)


def go_on(path: Path, home: Path) -> subprocess.Popen:
    """The next attempt in a run folder."""
    environment = {**os.environ, "COVEY_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], env=environment)


def lines(path: Path) -> list[dict]:
    file = path / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for(process, condition, what: str, limit_s: float = 300.0):
    """The condition's first true value; the clock only ends a test that has failed."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert process.poll() is None and time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


def actors_of(process) -> dict[str, psutil.Process]:
    """The job's actor processes by role."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            title = "".join(child.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and child.status() != psutil.STATUS_ZOMBIE:
            found[title.removeprefix("ray::").partition(".")[0]] = child
    return found

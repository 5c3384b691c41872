"""What is killed while training goes on is replaced, and training goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

SCRIPT = (
    "import sys; from pathlib import Path; from covey.platform.driver import run_attempt\n"
    "outcome = run_attempt(Path(sys.argv[1])); print(outcome); sys.exit(outcome.exit_status)"
)


def start(path: Path, home: Path, section: dict, steps: int) -> subprocess.Popen:
    job = {"name": "test", "workload": "rl", "stop": {"env_steps": steps}, "rl": section}
    RunFolder.create(path, parse_job_file(job, Path.cwd()))
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


@pytest.fixture
def begun(tmp_path):
    """Starts a job with `more` in its `rl` section, which trains until the test ends."""
    started = []

    def begun(**more):
        section = {
            "algorithm": {"name": "ppo", "rollout_steps": 32, "epochs": 2},
            "env": {"id": "CartPole-v1"},
            "sampling": {"samplers": 1, "envs_per_sampler": 4},
        }
        path = tmp_path / "run"
        process = start(path, tmp_path / "home", section | more, steps=100_000_000)
        started.append(process)
        wait_for(process, lambda: lines(path), "it never began")
        return process, path

    yield begun
    for process in started:
        process.kill()
        process.wait()


def stop(process):
    """The status of a job that was asked to stop."""
    process.send_signal(signal.SIGTERM)
    return process.wait(300)


@pytest.mark.ray
def test_killed_workers_are_replaced_while_training_goes_on(begun):
    evaluation = {"every_env_steps": 256, "episodes": 2}
    process, path = begun(evaluation=evaluation, viewer={"every_s": 1})
    for role in ("sampler-0", "evaluator", "viewer", "learner"):
        victim = wait_for(process, lambda role=role: actors_of(process).get(role), role)
        before = len(lines(path))
        victim.kill()
        wait_for(process, lambda n=before: len(lines(path)) > n + 5, f"{role} was not replaced")
    steps = [line["step"] for line in lines(path)]
    assert steps == sorted(steps)
    assert lines(path)[-1]["replaced_workers"] >= 2
    wait_for(process, (path / "live.png").exists, "nothing was drawn")
    held = [*actors_of(process).values()]
    assert stop(process) == 4
    psutil.wait_procs(held, timeout=120)
    assert not [one for one in held if one.is_running()]
    assert (path / "checkpoints" / "latest").exists()


@pytest.mark.ray
def test_a_run_that_is_stopped_while_ray_starts_keeps_what_it_learnt(begun):
    process, path = begun()
    assert stop(process) == 4
    assert (path / "checkpoints" / "latest").exists()
    assert json.loads((path / "result.json").read_text())["step"] > 0

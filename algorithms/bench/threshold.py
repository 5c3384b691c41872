"""Compares how long training takes until it reaches a threshold, each run a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from covey.algorithms.bench.machine import machine
from covey.algorithms.bench.peer import PEERS, checkout, python_of, script
from covey.algorithms.bench.report import OURS, Report
from covey.platform.cli.output import figure, note
from covey.platform.errors import UserError

START_S = 120.0
"""How much longer than its training a run may take: libraries have to be loaded."""
NOTE = (
    "until the mean of the last 100 training episodes reaches the threshold, each seed a process "
    "of its own: median, lowest and highest; a run that did not reach it counts with the time it "
    "took; the last column is Covey's time over that one's, seed by seed"
)


@dataclass(frozen=True)
class Task:
    """What is trained, and the job file that trains it here."""

    env: str
    threshold: float
    job: str


TASKS = {
    task.env: task
    for task in (
        Task("CartPole-v1", 475, "cartpole-ppo.yaml"),
        Task("Pendulum-v1", -200, "pendulum-sac.yaml"),
    )
}


@dataclass(frozen=True)
class Run:
    """One training: `train_s` without and `process_s` with the start of its process."""

    contender: str
    seed: int
    solved: bool
    train_s: float
    process_s: float
    env_steps: int
    episode_return_mean: float | None


def compare(
    environments: Sequence[str], peers: Sequence[str], seeds: int, limit_s: float
) -> Report:
    """Train with every seed in turn, and with one seed everybody in turn."""
    report = Report("threshold", NOTE, machine(), {"seeds": seeds, "limit_s": limit_s})
    for env in environments:
        task = TASKS[env]
        runs: list[Run] = []
        for seed in range(seeds):
            for contender in (OURS, *peers):
                run = train(task, contender, seed, limit_s)
                runs.append(run)
                note(
                    f"{env}, seed {seed}: {run.contender} {'solved' if run.solved else 'failed'}, "
                    f"{figure(run.train_s)} s, whole process {figure(run.process_s)} s"
                )
        add(report, task, runs)
    return report


def add(report: Report, task: Task, runs: Sequence[Run]) -> None:
    """Every contender's times, in the order of the seeds, and how many of its runs were solved."""
    names = dict.fromkeys(run.contender for run in runs)
    of = {name: [run for run in runs if run.contender == name] for name in names}
    solved = {name: sum(run.solved for run in own) for name, own in of.items()}
    for what, seconds in (("training", "train_s"), ("whole process", "process_s")):
        times = {name: [getattr(run, seconds) for run in own] for name, own in of.items()}
        report.add(f"{task.env} to {task.threshold:g}, {what}", "s", times, solved=solved)


def train(task: Task, contender: str, seed: int, limit_s: float) -> Run:
    """One run of ours or a peer's, from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        if contender == OURS:
            command = our_command(task, seed, limit_s, Path(folder) / "run")
        else:
            settings = {
                "env": task.env,
                "seed": seed,
                "threshold": task.threshold,
                "limit_s": limit_s,
            }
            path = script(f"{contender}_threshold")
            command = [str(python_of(contender)), path, json.dumps(settings)]
        began = perf_counter()
        record = last_line(command, limit_s + START_S)
        process_s = perf_counter() - began
    return Run(
        PEERS.get(contender, OURS),
        seed,
        process_s=process_s,
        **(our_record(record, task) if contender == OURS else record),
    )


def our_command(task: Task, seed: int, limit_s: float, folder: Path) -> list[str]:
    """`covey run` of the task's job file with another seed."""
    job = checkout() / "deploy" / "jobs" / task.job
    if not job.exists():
        raise UserError(f"no job file {job}: run covey bench threshold in a checkout of Covey")
    sets = [f"seed={seed}", f"stop.wall_s={limit_s:g}"]
    return [
        *(sys.executable, "-m", "covey.platform.cli", "run", str(job), "--json"),
        *("--run-dir", str(folder)),
        *(word for key in sets for word in ("--set", key)),
    ]


def our_record(result: dict[str, Any], task: Task) -> dict[str, Any]:
    """What a peer would say, of our result.json."""
    mean = result["metrics"].get("episode_return_mean")
    return {
        "solved": result["state"] == "succeeded" and mean is not None and mean >= task.threshold,
        "train_s": result["wall_s"],
        "env_steps": result["step"],
        "episode_return_mean": mean,
    }


def last_line(command: Sequence[str], limit_s: float) -> dict[str, Any]:
    """The JSON on the last line that a command prints; UserError if it fails or takes too long."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[-1]}: not done after {limit_s:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if not printed.strip():
        reason = said.strip().splitlines() or [f"status {process.returncode}"]
        raise UserError(f"{Path(command[1]).name} failed: {reason[-1]}")
    record: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return record

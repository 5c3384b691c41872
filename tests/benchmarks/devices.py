"""SAC with its critics in a process of their own: how fast, and what a step of delay costs.

    python tests/benchmarks/devices.py [--batch 256] [--rounds 8] [--seconds 0.5]
    python tests/benchmarks/devices.py --learn [--seeds 5] [--first 0] [--steps 10000] --runs FILE

Without `--learn`: updates a second of one process on one thread and on two, of both processes in
turn (`delay: 0`, one and two threads each) and at the same time (`delay: 1`, a thread each), all
in turn within each round. One JSON object a batch: medians, as parts of the first
one, and each process's milliseconds of a core an update.

With it: jobs on Pendulum-v1, each seed with one process and with `delay: 1`, everything else
alike; each adds a line to FILE. One JSON object of all lines there: the evaluated returns, their
means and deviations over the seeds, and the 95 % interval of the paired difference. Exit status 1
unless that difference is within a standard deviation of one process's seeds.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from operator import truediv
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import psutil
from scipy.stats import t

from covey.platform.environment import prepare_libraries, threads_give_way
from covey.platform.runtime.crew import Crew

ROWS = 100_000
JOB = {
    "name": "pendulum",
    "workload": "rl",
    "deterministic": True,
    "resources": {"cpus": 2},
    "checkpoint": {"every_s": 3600},
    "rl": {
        "algorithm": {
            "name": "sac",
            "learning_rate": 1e-3,
            "hidden": [64, 64],
            "batch_size": 256,
            "block_steps": 1,
        },
        "env": {"id": "Pendulum-v1"},
        "sampling": {"samplers": 1, "envs_per_sampler": 4},
        "viewer": {"every_s": None},
    },
}
ARMS: dict[str, dict[str, Any]] = {
    "one": {"threads": 1, "devices": None},
    "delayed": {"threads": 2, "devices": {"delay": 1}},
}
EPISODES = 30
WHOLE = {"one process, 1 thread": 1, "one process, 2 threads": 2}
SPLIT = {
    "delay 0, 1 thread each": (1, 0),
    "delay 0, 2 threads each": (2, 0),
    "delay 1, 1 thread each": (2, 1),
}
"""Threads of the learner, and delay."""


def rates(batch: int, rounds: int, seconds: float, make_crew: Callable[[], Crew]) -> dict[str, Any]:
    """Medians of updates a second."""
    from sac_update import SPACES, full_stream, rate  # torch waits until its threads are told

    from covey.algorithms.sac import SACConfig

    config, stream = SACConfig(name="sac", batch_size=batch), full_stream(ROWS)
    crews = {name: make_crew() for name in SPLIT}
    learners: dict[str, Any] = {
        name: config.make_learner(SPACES, 0, threads) for name, threads in WHOLE.items()
    } | {
        name: config.make_split_learner(SPACES, 0, threads, delay, crews[name])
        for name, (threads, delay) in SPLIT.items()
    }
    replays = {name: learner.memory.open([stream], []) for name, learner in learners.items()}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in learners}
    for turn in range(rounds + 1):
        for name, learner in learners.items():
            crew, before = crews.get(name), learner.updates
            cpu_s = cpu_times(crew)
            updates_per_s = rate(partial(learner.update, replays[name]), seconds)
            learner.metrics()  # nothing goes on beside the next one
            made = learner.updates - before
            used = [(b - a) / made * 1e3 for a, b in zip(cpu_s, cpu_times(crew), strict=True)]
            if turn:  # in the first one it all warms up
                found[name].append((updates_per_s, *used))
    for name in SPLIT:
        learners[name].close()
    alone = [row[0] for row in found["one process, 1 thread"]]
    report: dict[str, Any] = {"batch": batch}
    for name, rows in found.items():
        hz, *cpu_ms = zip(*rows, strict=True)
        report[name] = {
            "updates_per_s": round(median(hz), 1),
            "of_one": round(median(map(truediv, hz, alone)), 2),
            "cpu_ms": [round(median(values), 2) for values in cpu_ms],
        }
    return report


def cpu_times(crew: Crew | None) -> list[float]:
    """Seconds that this process has used, and the one of the critics."""
    processes = [psutil.Process()]
    if crew is not None:
        processes.append(psutil.Process(crew.pids()["critic"]))
    return [sum(process.cpu_times()[:2]) for process in processes]


def trained(arm: str, seed: int, steps: int) -> dict[str, Any]:
    """The evaluation of one job at its end."""
    told, rl = ARMS[arm], JOB["rl"]
    section = {
        **rl,
        "algorithm": {**rl["algorithm"], "threads": told["threads"]},
        "devices": told["devices"],
        "evaluation": {"every_env_steps": steps, "episodes": EPISODES},
    }
    job = {**JOB, "seed": seed, "stop": {"env_steps": steps}, "rl": section}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_text(json.dumps(job))
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(path), "--json"]
        command += ["--run-dir", str(Path(folder) / "run")]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(ended.stderr)
        result = json.loads(ended.stdout.splitlines()[-1])
    metrics = result["metrics"]
    return {
        "arm": arm,
        "seed": seed,
        "steps": steps,
        "updates": metrics["updates"],
        "evaluation_return_mean": metrics["evaluation_return_mean"],
        "episode_return_mean": metrics["episode_return_mean"],
        "wall_s": round(result["wall_s"], 1),
    }


def compared(runs: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    """Both arms over the seeds that both have."""
    by_arm = {arm: {r["seed"]: r[figure] for r in runs if r["arm"] == arm} for arm in ARMS}
    seeds = sorted(by_arm["one"].keys() & by_arm["delayed"].keys())
    one, delayed = ([by_arm[arm][seed] for seed in seeds] for arm in ARMS)
    differences = [b - a for a, b in zip(one, delayed, strict=True)]
    half = t.ppf(0.975, len(seeds) - 1) * stdev(differences) / math.sqrt(len(seeds))
    return {
        "seeds": len(seeds),
        **{
            arm: {"mean": round(mean(v), 1), "sd": round(stdev(v), 1), "worst": round(min(v), 1)}
            for arm, v in (("one", one), ("delayed", delayed))
        },
        "difference": round(mean(differences), 1),
        "interval_95": [round(mean(differences) + sign * half, 1) for sign in (-1, 1)],
        "within_the_noise": abs(mean(differences)) <= stdev(one),
    }


def learn(first: int, seeds: int, steps: int, file: Path) -> None:
    """Run what is asked for, report on all that is in the file."""
    for seed in range(first, first + seeds):
        for arm in ARMS:
            line = json.dumps(trained(arm, seed, steps))
            print(line, file=sys.stderr, flush=True)
            with file.open("a") as out:
                out.write(line + "\n")
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    figures = ("evaluation_return_mean", "episode_return_mean")
    report = {figure: compared(runs, figure) for figure in figures}
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["evaluation_return_mean"]["within_the_noise"] else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, action="append", default=None)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="so many; with FILE's, at least two")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--runs", type=Path)
    arguments = parser.parse_args()
    if arguments.learn:
        if arguments.runs is None:
            parser.error("--learn needs --runs FILE")
        learn(arguments.first, arguments.seeds, arguments.steps, arguments.runs)
    prepare_libraries(own_ray=True)
    threads_give_way()
    from covey.algorithms.study.command import private_ray

    with private_ray() as make_crew:
        for batch in arguments.batch or (256, 8192):
            found = rates(batch, arguments.rounds, arguments.seconds, make_crew)
            print(json.dumps(found, indent=2), flush=True)


if __name__ == "__main__":
    main()

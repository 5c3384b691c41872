"""Measure what auto-tuning finds against fixed settings, and what more samplers are worth.

    python tests/benchmarks/tuning.py grid cheap > cheap.json      # or: slow
    python tests/benchmarks/tuning.py auto cheap --grid cheap.json
    python tests/benchmarks/tuning.py scaling

The job is DQN with an update every 1,000 transitions, so that sampling is what takes time: `cheap`
on CartPole-v1, `slow` on an environment whose every step sleeps for 2 ms. `grid` runs a job for
each of some settings (samplers x environments each) and gives their rates, in environment steps a
second. `auto` begins with the worst of them and gives the rate it ends with, how many seconds after
the actors' start it had had 90 % of the best one's for 4 s, and what the job said of its tuning;
exit status 1 unless that was within 60 s and stayed so. `scaling` gives the rates of 1 and 8
samplers on the slow environment, one environment each; exit status 1 unless 8 have 0.9 times 8
times that of one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SLOW = '''
import time

import gymnasium
import numpy as np


class Sleeping(gymnasium.Env):
    """Every step takes 2 ms, and next to nothing of a CPU."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self):
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)

    def step(self, action):
        time.sleep(0.002)
        self.steps += 1
        return self.seen(), 1.0, False, self.steps == 200, {}


gymnasium.register("Sleeping-v0", entry_point=Sleeping)
'''
ENVIRONMENTS = {"cheap": "CartPole-v1", "slow": "sleeping:Sleeping-v0"}
SAMPLERS, ENVS = (1, 2, 8), (1, 64)
MOST = {"samplers": max(SAMPLERS), "envs_per_sampler": max(ENVS)}
WARM_S, MEASURE_S, AUTO_S = 4.0, 6.0, 75.0
WINDOW_S = 4.0
"""The rate at a moment is that of so many seconds before it."""
IN_TIME_S, GOOD = 60.0, 0.9

Rates = list[tuple[float, float]]


def run(kind: str, sampling: dict[str, Any], seconds: float) -> tuple[Rates, list[str]]:
    """Seconds since the actors' start, and environment steps until then; and the tuning's events,
    of a job that ends so many seconds after that start, about.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "code").mkdir()
        (folder / "code" / "sleeping.py").write_text(SLOW)
        job = {
            "name": "tuning",
            "workload": "rl",
            "code": str(folder / "code"),
            "resources": {"cpus": 2},
            "stop": {"env_steps": 10**10},
            "rl": {
                "algorithm": {
                    **{"name": "dqn", "hidden": [64], "block_steps": 16},
                    **{"updates_per_step": 0.001, "learning_starts": 64},
                },
                "env": {"id": ENVIRONMENTS[kind]},
                "sampling": sampling,
                "viewer": {"every_s": None},
            },
        }
        (folder / "job.yaml").write_text(json.dumps(job))
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(folder / "job.yaml")]
        command += ["--run-dir", str(folder / "run"), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            begun = None
            while begun is None or points(folder, begun)[-1:] < [(seconds, 0.0)]:
                try:
                    process.wait(0.5)
                except subprocess.TimeoutExpired:
                    begun = begun or next(iter(events(folder, "actors")), None)
                else:
                    raise SystemExit(process.communicate()[1].decode())
            process.terminate()
            process.communicate()
        return points(folder, begun), [told(e, begun) for e in events(folder, "tuning")]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Of a kind, so far."""
    return [line for line in lines(folder / "run" / "events.jsonl") if line["kind"] == kind]


def told(event: dict[str, Any], begun: dict[str, Any]) -> str:
    """An event with the time since the actors' start."""
    return f"{seconds_of(event) - seconds_of(begun):5.1f} s  {event['message']}"


def seconds_of(event: dict[str, Any]) -> float:
    """Of its day."""
    hours, minutes, seconds = event["time"].rstrip("Z").partition("T")[2].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def points(folder: Path, begun: dict[str, Any]) -> Rates:
    """Seconds since the actors' start, and steps."""
    reports = lines(folder / "run" / "metrics.jsonl")
    return [
        (r["wall_s"] - begun["wall_s"], r["step"]) for r in reports if r["wall_s"] > begun["wall_s"]
    ]


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole ones of a file of JSON lines."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


def rate(found: Rates, begin_s: float, end_s: float) -> float:
    """Steps a second between the last reports before two moments: steps may come in bursts."""
    first_s, first = max((p for p in found if p[0] <= begin_s), default=found[0])
    last_s, last = max(p for p in found if p[0] <= max(end_s, found[0][0]))
    return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def grid(kind: str, samplers: Sequence[int], envs: Sequence[int]) -> None:
    """Prints the rate of every setting, a JSON object each."""
    for number in samplers:
        for each in envs:
            sampling = {"samplers": number, "envs_per_sampler": each}
            measured, _ = run(kind, sampling, WARM_S + MEASURE_S)
            found = round(rate(measured, WARM_S, WARM_S + MEASURE_S))
            print(json.dumps({f"{number} x {each}": found}), flush=True)


def auto(kind: str, rates: dict[str, float]) -> bool:
    """From the worst of these settings; prints what came of it, and says whether it is enough."""
    worst, best = min(rates, key=rates.__getitem__), max(rates.values())
    samplers, envs = map(int, worst.split(" x "))
    sampling = {"samplers": samplers, "envs_per_sampler": envs, "tuning": MOST}
    found, said = run(kind, sampling, AUTO_S)
    end_s = found[-1][0]
    good = [
        at
        for at in (0.5 * step for step in range(int(2 * (end_s - WINDOW_S))))
        if rate(found, at, at + WINDOW_S) >= GOOD * best
    ]
    last = rate(found, IN_TIME_S, end_s)
    reached_s = good[0] + WINDOW_S if good else None
    print("\n".join(said), file=sys.stderr)
    report = {"began": worst, "rates": rates, "best": best, "reached_s": reached_s}
    print(
        json.dumps({**report, "after_60_s": round(last), "part": round(last / best, 3)}, indent=2)
    )
    return reached_s is not None and reached_s <= IN_TIME_S and last >= GOOD * best


def scaling() -> bool:
    """Prints the rates of 1 and of 8 samplers on the slow environment, twice in turn."""
    found: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(2):
        for number, rates in found.items():
            measured, _ = run(
                "slow", {"samplers": number, "envs_per_sampler": 1}, WARM_S + MEASURE_S
            )
            rates.append(round(rate(measured, WARM_S, WARM_S + MEASURE_S), 1))
    part = sum(found[8]) / sum(found[1]) / 8
    print(json.dumps({"1": found[1], "8": found[8], "part_of_8_times": round(part, 3)}, indent=2))
    return part >= GOOD


def numbers(text: str) -> list[int]:
    """Of a comma-separated list."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("grid", "auto", "scaling"))
    parser.add_argument("kind", choices=tuple(ENVIRONMENTS), nargs="?", default="slow")
    parser.add_argument("--grid", type=Path, help="what `grid` printed")
    parser.add_argument("--samplers", type=numbers, default=SAMPLERS)
    parser.add_argument("--envs", type=numbers, default=ENVS)
    arguments = parser.parse_args()
    if arguments.what == "grid":
        grid(arguments.kind, arguments.samplers, arguments.envs)
        return
    if arguments.what == "scaling":
        sys.exit(0 if scaling() else 1)
    rates: dict[str, float] = {}
    for line in arguments.grid.read_text().splitlines():
        rates |= json.loads(line)
    sys.exit(0 if auto(arguments.kind, rates) else 1)


if __name__ == "__main__":
    main()

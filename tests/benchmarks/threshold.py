"""Train a job to its threshold with several seeds, each a `covey run` of its own.

    python tests/benchmarks/threshold.py deploy/jobs/cartpole-ppo.yaml [--seeds 5] [--first 0]

Prints steps and seconds; of each run as it ends on standard error, too. A run is solved when it
succeeded and the job's threshold was reached: of `episode_return_mean`, the mean of the last 100
training episodes, or of `evaluation_return_mean`, that of the newest evaluation's greedy episodes,
whichever the job stops at. Exit status 1 unless every seed is solved.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import yaml

GOALS = ("episode_return_mean", "evaluation_return_mean")


def train(job: Path, seed: int, folder: Path) -> dict[str, Any]:
    """One seed; steps and seconds as `result.json` has them."""
    command = [sys.executable, "-m", "covey.platform.cli", "run", str(job), "--json"]
    command += ["--set", f"seed={seed}", "--run-dir", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if not ended.stdout:
        raise SystemExit(ended.stderr)
    result = json.loads(ended.stdout.splitlines()[-1])
    stop = yaml.safe_load(job.read_text())["stop"]
    (goal,) = [name for name in GOALS if name in stop]
    reached = result["metrics"].get(goal)
    found = {
        "seed": seed,
        "solved": result["state"] == "succeeded" and reached is not None and reached >= stop[goal],
        goal: reached,
        "env_steps": result["step"],
        "wall_s": round(result["wall_s"], 2),
        "process_s": round(result["process_s"], 2),
    }
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed; the others follow")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            train(arguments.job, seed, Path(folder) / str(seed))
            for seed in range(arguments.first, arguments.first + arguments.seeds)
        ]
    report = {
        "job": arguments.job.name,
        "solved": sum(run["solved"] for run in runs),
        "median_wall_s": median(run["wall_s"] for run in runs),
        "median_env_steps": median(run["env_steps"] for run in runs),
        "runs": runs,
    }
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["solved"] == arguments.seeds else 1)


if __name__ == "__main__":
    main()

"""What V-trace is worth where samplers act with old weights: IMPALA with and without it.

    python tests/benchmarks/vtrace_lag.py deploy/jobs/cartpole-impala.yaml
        [--lag 0 --lag 5 --lag 20] [--seeds 5] [--env-steps 150000] [--set KEY=VALUE] [--out DIR]

Every run is a `covey run` of its own, in one process of eight environments and deterministic: with
`weight_lag: 5` what is learnt from was always acted with the weights of exactly 5 updates before. A
run's area is the mean of `episode_return_mean` over its steps, from 0 before the first episode has
ended. One JSON object: for each lag the areas with and without, and the mean of the differences of
equal seeds with its 95 % interval (Student's t). With `--out`, a picture of all curves. Exit status
1 unless at the largest lag that interval lies above 0.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student

CORRECTIONS = ("v-trace", "none")
GRID = 200
Curve = list[float]


def curve(
    job: Path, correction: str, lag: int, seed: int, steps: int, more: Sequence[str] = ()
) -> Curve:
    """`episode_return_mean` at equal distances over the run."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        sets = {
            "seed": seed,
            "deterministic": "true",
            "stop.env_steps": steps,
            "stop.episode_return_mean": "null",
            "rl.sampling.samplers": 0,
            "rl.sampling.envs_per_sampler": 8,
            "rl.algorithm.correction": correction,
            "rl.algorithm.weight_lag": lag,
            "checkpoint.every_s": 3600,
        }
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(job)]
        command += ["--json", "--run-dir", str(run)]
        wanted = [f"{key}={value}" for key, value in sets.items()] + list(more)
        command += [word for one in wanted for word in ("--set", one)]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(ended.stderr)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    points = [(one["step"], one.get("episode_return_mean", 0.0)) for one in lines]
    at, returns = zip(*[(0, 0.0), *points], strict=True)
    found: Curve = np.interp(np.linspace(0, steps, GRID), at, returns).tolist()
    return found


def interval(differences: list[float]) -> tuple[float, float]:
    """Of the mean, 95 %."""
    half = student.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return mean(differences) - half, mean(differences) + half


def draw(curves: dict[tuple[str, int], list[Curve]], steps: int, to: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    lags = sorted({lag for _, lag in curves})
    figure, axes = plt.subplots(1, len(lags), figsize=(4 * len(lags), 3), sharey=True)
    at = np.linspace(0, steps, GRID)
    for axis, lag in zip(np.atleast_1d(axes), lags, strict=True):
        for color, correction in zip(("C0", "C1"), CORRECTIONS, strict=True):
            for index, one in enumerate(curves[correction, lag]):
                label = correction if index == 0 else None
                axis.plot(at, one, color=color, alpha=0.6, label=label)
        axis.set(title=f"weights {lag} updates old", xlabel="environment steps")
    np.atleast_1d(axes)[0].set_ylabel("episode_return_mean")
    np.atleast_1d(axes)[0].legend()
    figure.tight_layout()
    figure.savefig(to / "vtrace_lag.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--lag", type=int, action="append", dest="lags")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--env-steps", type=int, default=150_000)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lags, steps = arguments.lags or [0, 5, 20], arguments.env_steps
    curves: dict[tuple[str, int], list[Curve]] = {}
    for lag, seed, correction in product(lags, range(arguments.seeds), CORRECTIONS):
        one = curve(arguments.job, correction, lag, seed, steps, arguments.sets)
        curves.setdefault((correction, lag), []).append(one)
        print(f"lag {lag}, seed {seed}, {correction}: {mean(one):.1f}", file=sys.stderr, flush=True)
    report: dict[str, Any] = {}
    for lag in lags:
        areas = {name: [mean(one) for one in curves[name, lag]] for name in CORRECTIONS}
        differences = [a - b for a, b in zip(*areas.values(), strict=True)]
        low, high = interval(differences)
        report[f"lag {lag}"] = {
            **{name: [round(area, 1) for area in found] for name, found in areas.items()},
            "difference": round(mean(differences), 1),
            "interval": [round(low, 1), round(high, 1)],
        }
    print(json.dumps({"job": arguments.job.name, "env_steps": steps, **report}, indent=2))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        draw(curves, steps, arguments.out)
    sys.exit(0 if report[f"lag {max(lags)}"]["interval"][0] > 0 else 1)


if __name__ == "__main__":
    main()

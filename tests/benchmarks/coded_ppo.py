"""What a worker that is always late costs data-parallel PPO, with a code and without.

    python tests/benchmarks/coded_ppo.py [--pairs 3] [--env-steps 60000]

Runs `deploy/jobs/cartpole-ppo-coded.yaml` with its late worker and without it, in turn; the same
training by one process with five seeds; and uncoded with the late worker, for 400 s, which is one
update of the learner. One JSON object; exit status 1 unless the late worker costs less than 15 % of
the wall time (median over the pairs) and every final return lies in the range of the five.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

JOB = "deploy/jobs/cartpole-ppo-coded.yaml"
NOBODY_LATE = "rl.coded.inject.delay_s=0"
ALONE = ("rl.coded=null", "rl.learners=null", "rl.sampling.samplers=0")
UNCODED = ("rl.coded.code=uncoded", "rl.coded.tolerate=0", "stop.env_steps=null", "stop.wall_s=400")
SEEDS = 5


def train(*sets: str) -> dict[str, float]:
    """Seconds for each 1,000 steps once training went on, and the return it ended with."""
    words = [word for one in sets for word in ("--set", one)]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "covey.platform.cli", "run", JOB, "--run-dir", str(run)]
        subprocess.run([*command, *words], check=True, stdout=sys.stderr)
        text = (run / "metrics.jsonl").read_text()
    records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    first, last = records[0], records[-1]
    steps = last["env_steps"] - first["env_steps"]
    return {
        "seconds_per_1000": (last["wall_s"] - first["wall_s"]) / max(1, steps) * 1000,
        "iteration_s": last.get("iteration_s", float("nan")),
        "return": last["episode_return_mean"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--env-steps", type=int, default=60_000)
    arguments = parser.parse_args()
    steps = f"stop.env_steps={arguments.env_steps}"
    alone = [train(steps, f"seed={seed}", *ALONE) for seed in range(SEEDS)]
    late, none = [], []
    for seed in range(arguments.pairs):
        none.append(train(steps, f"seed={seed}", NOBODY_LATE))
        late.append(train(steps, f"seed={seed}"))
        print(json.dumps([none[-1], late[-1]]), file=sys.stderr, flush=True)
    ratios = [
        one["seconds_per_1000"] / other["seconds_per_1000"]
        for one, other in zip(late, none, strict=True)
    ]
    returns = sorted(run["return"] for run in alone)
    inside = all(returns[0] <= run["return"] <= returns[-1] for run in (*late, *none))
    held = {"within 1.15 of no straggler": median(ratios) <= 1.15, "returns in the range": inside}
    found = {
        "alone": alone,
        "nobody_late": none,
        "one_late": late,
        "ratios": ratios,
        "uncoded_one_late": train(*UNCODED),
        "held": held,
    }
    print(json.dumps(found, indent=2))
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()

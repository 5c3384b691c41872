"""What a checkpoint of a policy of one million parameters costs in training time.

    python tests/benchmarks/checkpoint_cost.py [--samplers 0]

Trains PPO with a checkpoint after every other update and compares, within the one run, the time
from each report to the next: with a checkpoint begun in between, and without. Both kinds do the
same work otherwise, and each with is paired with the mean of the withouts before and after it, so
a machine that changes its speed does not count. Prints one JSON object, seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

UPDATE_STEPS, UPDATES = 1_024, 82
SKIPPED = 4  # the first updates also pay for warming up

JOB = f"""\
name: million
workload: rl
resources: {{cpus: 2}}
stop: {{env_steps: {UPDATE_STEPS * UPDATES}}}
checkpoint: {{every_env_steps: {2 * UPDATE_STEPS}}}
rl:
  algorithm: {{name: ppo, rollout_steps: 128, epochs: 4, minibatch_size: 256, hidden: [704, 704]}}
  env: {{id: CartPole-v1}}
  sampling: {{samplers: SAMPLERS, envs_per_sampler: ENVS}}
"""


def train(folder: Path, samplers: int) -> Path:
    """One run; returns its folder."""
    job, run = folder / "job.yaml", folder / "run"
    environments = 8 // max(1, samplers)
    job.write_text(JOB.replace("SAMPLERS", str(samplers)).replace("ENVS", str(environments)))
    command = [sys.executable, "-m", "covey.platform.cli", "run", str(job), "--run-dir", str(run)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(ended.stderr)
    return run


def lines(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", type=int, default=0, help="0: everything in one process")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = train(Path(folder), arguments.samplers)
        clock = [report["wall_s"] for report in lines(run / "metrics.jsonl")]
        events = [event for event in lines(run / "events.jsonl") if event["kind"] == "checkpoint"]
    between = [later - earlier for earlier, later in pairwise(clock)]
    # Report i (from 0) is update i + 1, and a checkpoint follows every even update.
    costs = [
        between[index] - (between[index - 1] + between[index + 1]) / 2
        for index in range(SKIPPED + 1, len(between) - 1, 2)
    ]
    low, _, high = quantiles(costs, n=4)
    report = {
        "checkpoints": len(events),
        "size_bytes": events[-1]["size_bytes"],
        "update_s": round(median(between[SKIPPED::2]), 4),
        "cost_s": {"median": round(median(costs), 4), "quartiles": [round(low, 4), round(high, 4)]},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

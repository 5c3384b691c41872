"""What a checkpoint of a policy of one million parameters costs in training time.

    python tests/benchmarks/checkpoint_cost.py [--pairs 5] [--samplers 0]

Trains the same deterministic PPO job with a checkpoint every few updates and with only the last,
in turn, and divides the difference of their training clocks by the number of checkpoints. Prints
one JSON object; `seconds_each` is the median and range over the pairs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

STEPS, EVERY = 61_440, 6_144

JOB = """\
name: million
workload: rl
deterministic: true
resources: {{cpus: 2}}
stop: {{env_steps: {steps}}}
checkpoint: {{every_env_steps: {every}}}
rl:
  algorithm: {{name: ppo, rollout_steps: 128, epochs: 4, minibatch_size: 256, hidden: [704, 704]}}
  env: {{id: CartPole-v1}}
  sampling: {{samplers: {samplers}, envs_per_sampler: 8}}
"""


def train_s(folder: Path, every: int, samplers: int) -> tuple[float, int]:
    """The training clock of one run, and how many checkpoints it wrote."""
    folder.mkdir()
    (folder / "job.yaml").write_text(JOB.format(steps=STEPS, every=every, samplers=samplers))
    command = [sys.executable, "-m", "covey.platform.cli", "run", str(folder / "job.yaml")]
    command += ["--run-dir", str(folder / "run"), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(ended.stderr)
    events = (folder / "run" / "events.jsonl").read_text().splitlines()
    written = sum(json.loads(line)["kind"] == "checkpoint" for line in events)
    return json.loads(ended.stdout.splitlines()[-1])["wall_s"], written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--samplers", type=int, default=0, help="0: everything in one process")
    arguments = parser.parse_args()
    costs: list[float] = []
    runs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(arguments.pairs):
            home = Path(folder)
            often_s, often = train_s(home / f"often-{pair}", EVERY, arguments.samplers)
            once_s, once = train_s(home / f"once-{pair}", STEPS, arguments.samplers)
            costs.append((often_s - once_s) / (often - once))
            runs.append((often_s, once_s))
    summary = {"median": median(costs), "min": min(costs), "max": max(costs)}
    report = {
        "checkpoints": often - once,
        "runs_s": runs,
        "seconds_each": {name: round(value, 4) for name, value in summary.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

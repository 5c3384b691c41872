"""How long the command line makes people wait: `covey --help`, and reading a job file of 50 lines.

    python tests/benchmarks/command_line.py

Prints one JSON object, seconds: median and range over the runs. `--help` is a whole process;
validation is timed within one process, after the first call has imported what it needs.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

RUNS = 15

LONG_JOB = """\
name: long
workload: rl
seed: 7
deterministic: false
priority: 3
grace_s: 20
resources:
  cpus: 2
  gpus: 0
retries:
  max_attempts: 4
  backoff_s: 2.5
checkpoint:
  every_s: 30
  every_env_steps: 50_000
  keep: 3
stop:
  env_steps: 500_000
  episode_return_mean: 475
  wall_s: 600
rl:
  algorithm:
    name: ppo
    learning_rate: 1.0e-3
  env:
    id: CartPole-v1
  sampling:
    samplers: auto
    envs_per_sampler: auto
"""


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def summary(seconds: list[float]) -> dict[str, float]:
    rounded = [round(value, 4) for value in seconds]
    return {"median": median(rounded), "min": min(rounded), "max": max(rounded)}


def main() -> None:
    from covey.platform.jobfile.load import load_job_file

    help_command = [sys.executable, "-m", "covey.platform.cli", "--help"]
    help_s = [
        timed(lambda: subprocess.run(help_command, check=True, capture_output=True))
        for _ in range(RUNS)
    ]
    padding = "# a line of comment\n" * (50 - LONG_JOB.count("\n"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(LONG_JOB + padding)
        load_job_file(file)
        validate_s = [timed(lambda: load_job_file(file)) for _ in range(RUNS)]
    print(json.dumps({"help_s": summary(help_s[1:]), "validate_50_lines_s": summary(validate_s)}))


if __name__ == "__main__":
    main()

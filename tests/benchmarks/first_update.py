"""Seconds from the command to the first update of a job with sampler actors, and to Ray's start.

    python tests/benchmarks/first_update.py [JOB] [--set KEY=VALUE]… [--times 5]

By default `deploy/jobs/cartpole-ppo.yaml` with two samplers. Beside it, in turn, `ray` by itself:
import, start of a private cluster, one actor that imports torch. One JSON object of medians, lowest
and highest; exit status 1 unless the median of the first is below 8 s.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from covey.platform.exit_status import ExitStatus

LIMIT_S = 8.0
JOB = Path(__file__).parents[2] / "deploy" / "jobs" / "cartpole-ppo.yaml"
RAY = """
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
@ray.remote
class Importer:
    def ready(self):
        import torch
ray.get(Importer.remote().ready.remote())
print("ready", flush=True)
"""


def first_update(job: Path, sets: Sequence[str]) -> float:
    """Of one run, which is ended then."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(job)]
        command += ["--run-dir", str(run)]
        command += [word for one in sets for word in ("--set", one)]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not updated(run / "metrics.jsonl"):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: status {process.returncode}")
            time.sleep(0.02)
        took_s = time.perf_counter() - began
        process.send_signal(signal.SIGTERM)
        if process.wait() != ExitStatus.STOPPED:
            raise SystemExit(
                f"{' '.join(command)}: status {process.returncode} when it was stopped"
            )
    return took_s


def updated(metrics: Path) -> bool:
    """Whether a report of an update is there."""
    if not metrics.exists():
        return False
    whole = metrics.read_text().rpartition("\n")[0].splitlines()
    return any(json.loads(line).get("updates", 0) > 0 for line in whole)


def ray_alone() -> float:
    """Ray with one actor that has imported torch."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", RAY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    said, took_s = process.stdout.readline(), time.perf_counter() - began
    process.communicate()
    if not said:
        raise SystemExit("Ray alone failed")
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path, nargs="?", default=JOB)
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    sets = ["rl.sampling.samplers=2", *arguments.sets]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    times: dict[str, list[float]] = {"first_update_s": [], "ray_alone_s": []}
    for _ in range(arguments.times):
        times["first_update_s"].append(first_update(arguments.job, sets))
        times["ray_alone_s"].append(ray_alone())
    report = {
        name: {"median": round(median(all_), 2), "all": [round(one, 2) for one in sorted(all_)]}
        for name, all_ in times.items()
    }
    print(json.dumps({"job": arguments.job.name, **report}, indent=2))
    sys.exit(0 if median(times["first_update_s"]) < LIMIT_S else 1)


if __name__ == "__main__":
    main()

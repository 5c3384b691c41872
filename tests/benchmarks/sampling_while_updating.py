"""How fast an asynchronous job samples while it updates, against a synchronous one.

    python tests/benchmarks/sampling_while_updating.py deploy/jobs/cartpole-impala.yaml \\
        deploy/jobs/cartpole-ppo.yaml [--rounds 3] [--seconds 20]

Both jobs, in turns, with two samplers of four environments, as Ray actors: what is trained
in the job's own process before they are there is left out. One JSON object: each
job's `sampling_hz`, `update_hz` and `weight_age`, medians over the rounds with least and greatest,
and the first job's sampling rate as a part of the second one's: of its whole rate, updates
included, and of what it does while its samplers are not waiting. Exit status 1 unless the first
part is at least 0.8.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

WARM_S, START_S = 4.0, 15.0
NAMES = ("sampling_hz", "update_hz", "weight_age", "cpu_percent", "alone_hz")


def measure(job: Path, seconds: float) -> dict[str, float]:
    """Medians over the reports of one run, from when its actors have warmed up."""
    sets = [f"stop.wall_s={START_S + WARM_S + seconds}", "stop.episode_return_mean=null"]
    sets += ["rl.sampling.samplers=2", "rl.sampling.envs_per_sampler=4", "stop.env_steps=100000000"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(job), "--json"]
        command += ["--run-dir", str(run), *(word for one in sets for word in ("--set", one))]
        subprocess.run(command, check=True, capture_output=True)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    (begun,) = [event["wall_s"] for event in events if event["kind"] == "actors"]
    warm = [line for line in lines if line["wall_s"] > begun + WARM_S]
    for line in warm:  # a synchronous one tells how long its samplers took
        if "sample_s" in line:
            line["alone_hz"] = line["sampling_hz"] * line["iteration_s"] / line["sample_s"]
    return {n: median(line[n] for line in warm if n in line) for n in NAMES if n in warm[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("synchronous", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    jobs = (arguments.job, arguments.synchronous)
    rounds: list[list[dict[str, float]]] = []
    for _ in range(arguments.rounds):
        rounds.append([measure(job, arguments.seconds) for job in jobs])
        print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
    report: dict[str, Any] = {}
    for index, job in enumerate(jobs):
        found = {n: [one[index][n] for one in rounds] for n in rounds[0][index]}
        report[job.name] = {n: [min(v), median(v), max(v)] for n, v in found.items()}
    first, second = (report[job.name] for job in jobs)
    report["part"] = round(first["sampling_hz"][1] / second["sampling_hz"][1], 3)
    if "alone_hz" in second:
        report["part_of_alone"] = round(first["sampling_hz"][1] / second["alone_hz"][1], 3)
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["part"] >= 0.8 else 1)


if __name__ == "__main__":
    main()

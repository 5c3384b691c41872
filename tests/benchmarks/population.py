"""Memory of a federated job with 100,000 clients, of which 100 train in a round.

    python tests/benchmarks/population.py [--clients 100000] [--rounds 50] [--engine inline]

A folder of arrays with two samples for each client, logistic regression. One JSON object: seconds
of a round, and the resident memory of the job's process in MB when it was at rest after a fifth of
the rounds and after all of them. Exit status 1 if it grew by more than 3 % in between.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

FEATURES, CLASSES, SAMPLES = 32, 4, 2
FLAT = 1.03


def write_arrays(folder: Path, clients: int) -> None:
    """Separable classes."""
    generator = np.random.default_rng(0)
    for part, count in (("train", clients * SAMPLES), ("test", 1000)):
        labels = generator.integers(CLASSES, size=count)
        samples = generator.standard_normal((count, FEATURES), np.float32)
        samples[np.arange(count), labels] += 2
        np.save(folder / f"{part}_x.npy", samples)
        np.save(folder / f"{part}_y.npy", labels)


def job(arrays: Path, clients: int, rounds: int, engine: str) -> dict[str, Any]:
    """As plain data."""
    return {
        "name": "population",
        "workload": "federated",
        "stop": {"rounds": rounds},
        "federated": {
            "app": "logistic",
            "engine": engine,
            "clients": clients,
            "cohort": 100,
            "data": {"path": str(arrays), "partition": {"kind": "iid"}},
            "local": {"epochs": 1, "batch_size": 2, "learning_rate": 0.1},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--engine", choices=("inline", "actors", "cohort"), default="inline")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        arrays, file, run = Path(scratch, "arrays"), Path(scratch, "job.yaml"), Path(scratch, "run")
        arrays.mkdir()
        write_arrays(arrays, told.clients)
        file.write_text(json.dumps(job(arrays, told.clients, told.rounds, told.engine)))
        command = [sys.executable, "-m", "covey.platform.cli", "run", str(file)]
        process = subprocess.Popen([*command, "--run-dir", str(run)], stdout=sys.stderr)
        held: dict[int, float] = {}
        reports: list[dict[str, float]] = []
        while process.poll() is None:
            metrics = run / "metrics.jsonl"
            reports = read(metrics) if metrics.exists() else []
            if reports:
                held[int(reports[-1]["step"])] = resident_mb(process.pid)
            time.sleep(0.02)
        if process.returncode:
            sys.exit(f"the run ended with status {process.returncode}")
    early = median(mb for step, mb in held.items() if abs(step - told.rounds // 5) <= 2)
    late = median(mb for step, mb in held.items() if step > told.rounds - 5)
    rounds_s = reports[-1]["wall_s"] - reports[1]["wall_s"]
    report = {
        "clients": told.clients,
        "engine": told.engine,
        "round_s": rounds_s / (reports[-1]["step"] - reports[1]["step"]),
        "accuracy": reports[-1]["accuracy"],
        "early_mb": early,
        "late_mb": late,
        "most_mb": max(held.values()),
    }
    print(json.dumps(report))
    sys.exit(0 if late <= FLAT * early else 1)


def read(metrics: Path) -> list[dict[str, float]]:
    """All whole lines."""
    return [json.loads(line) for line in metrics.read_text().split("\n")[:-1]]


def resident_mb(pid: int) -> float:
    """Of a process; 0 once it has ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0


if __name__ == "__main__":
    main()

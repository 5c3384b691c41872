"""What the scheduler's store and its decisions cost.

    python tests/benchmarks/scheduling.py

Prints one JSON object, seconds: 1,000 submits through the Python client; one admission decision
over 10,000 queued jobs (median and range of 15); `covey jobs` and `covey jobs --json` over 10,000
jobs, as whole processes (median and range of 5).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from covey.platform.client import Client
from covey.platform.jobs.admission import Capacity, decide
from covey.platform.jobs.background import store_path
from covey.platform.jobs.job import State
from covey.platform.jobs.sqlite_store import SqliteStore

SUBMITS, JOBS = 1_000, 10_000
JOB: dict[str, object] = {
    "name": "many",
    "workload": "federated",
    "stop": {"rounds": 1},
    "federated": {"app": "logistic", "data": {"name": "digits"}, "clients": 2},
}


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def summary(seconds: list[float]) -> dict[str, float]:
    rounded = [round(value, 4) for value in seconds]
    return {"median": median(rounded), "min": min(rounded), "max": max(rounded)}


def submits(home: Path) -> float:
    with Client(home) as client:
        client.submit(JOB)  # imports, and makes the store
        return timed(lambda: [client.submit(JOB) for _ in range(SUBMITS)])


def fill(home: Path) -> None:
    """Bring the store up to 10,000 jobs."""
    store = SqliteStore(store_path(home))
    job = store.get(store.rows()[0].job_id)
    for number in range(JOBS - SUBMITS - 1):
        job_id = f"many-{number}"
        store.add(replace(job, job_id=job_id, priority=number % 7), "{}")
    store.close()


def decisions(home: Path) -> dict[str, float]:
    store = SqliteStore(store_path(home))
    queued = store.rows({State.QUEUED})
    store.close()
    assert len(queued) == JOBS
    return summary([timed(lambda: decide(queued, [], Capacity(64, 8))) for _ in range(15)])


def listing(home: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "covey.platform.cli", "jobs", *options]
    environment = os.environ | {"COVEY_HOME": str(home)}

    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    run()
    return summary([timed(run) for _ in range(5)])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        report: dict[str, object] = {"submit_1000_s": round(submits(home), 3)}
        fill(home)
        report["decide_10000_s"] = decisions(home)
        report["jobs_10000_s"] = listing(home)
        report["jobs_json_10000_s"] = listing(home, "--json")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""Watch a job of the scheduler's until it has ended: what it waits for, then its progress."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from covey.platform.cli.output import note, print_json
from covey.platform.cli.progress import show_progress
from covey.platform.cli.result import print_result
from covey.platform.client import Client
from covey.platform.jobfile.load import load_job_file
from covey.platform.jobs.job import TERMINAL, Job, State
from covey.platform.runs.result import read_result

POLL_S = 0.3


def wait_for(client: Client, job_id: str, as_json: bool) -> int:
    """Show a job's progress; returns the exit status: 0 only when it succeeded."""
    path = Path(client.show(job_id).run_dir)
    note(f"job {job_id}; run folder: {path}")
    job = _until_it_runs(client, job_id)
    if (path / "job.yaml").exists():
        with show_progress(load_job_file(path / "job.yaml")) as on_report:
            lines = _reports(path / "metrics.jsonl")
            while job.state not in TERMINAL:
                time.sleep(POLL_S)
                job = client.show(job_id)
                for metrics in lines:
                    if metrics is None:
                        break
                    on_report(metrics["step"], metrics)
    result = {"job_id": job_id, "reason": job.reason, **read_result(path), "state": job.state.value}
    if as_json:
        print_json(result)
    else:
        print_result(result)
    return 0 if job.state is State.SUCCEEDED else 1


def _until_it_runs(client: Client, job_id: str) -> Job:
    said = ""
    while True:
        job = client.show(job_id)
        line = f"{job.state}: {job.reason}" if job.reason else str(job.state)
        if line != said:
            said = line
            note(line)
        if job.state in TERMINAL or job.state in (State.RUNNING, State.STOPPING):
            return job
        time.sleep(POLL_S)


def _reports(file: Path) -> Iterator[dict[str, Any] | None]:
    """The lines of metrics as they come; None whenever there is no whole line yet."""
    position = 0
    while True:
        if not file.exists():
            yield None
            continue
        if file.stat().st_size < position:
            position = 0  # a new attempt dropped what came after its checkpoint
        with file.open("rb") as lines:
            lines.seek(position)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                yield json.loads(line)
        yield None

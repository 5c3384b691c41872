"""Many jobs of several parts each on three Ray nodes: all or nothing, and in turn."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import RayNodes

from covey.platform.client import Client
from covey.platform.jobs.job import Job, State

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TOY = Path(__file__).parents[1] / "platform" / "toy"
LIMIT_S = 1800.0
ALL = [2.0, 2.0, 2.0]
MIXED = ([0.5], [1.0], [2.0], [0.5, 0.5], [1.0, 1.0, 1.0], [2.0, 1.0], [2.0, 2.0], [0.5] * 8)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Of a home whose scheduler has three nodes of two CPUs each."""
    monkeypatch.setenv("COVEY_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(TOY))
    monkeypatch.syspath_prepend(str(TOY))
    nodes = RayNodes(tmp_path)
    try:
        for name in ("one", "two", "three"):
            nodes.add(name, 2)
        with Client(tmp_path) as opened, (tmp_path / "scheduler.log").open("ab") as log:
            command = [sys.executable, "-m", "covey.platform.jobs.daemon", "--home", str(tmp_path)]
            scheduler = subprocess.Popen(
                [*command, "--address", nodes.address], stdout=log, stderr=log, env=os.environ
            )
            yield opened
            scheduler.terminate()
            scheduler.wait()
    finally:
        nodes.close()


def job(name: str, parts: list[float], steps: int = 10) -> dict[str, Any]:
    return {
        "name": name,
        "workload": "toy",
        "resources": {"cpus": sum(parts)},
        "stop": {"env_steps": steps},
        "toy": {"step_s": 0.02, "parts": parts},
    }


def ended(client: Client, job_ids: list[str]) -> list[Job]:
    """All have succeeded, at the first attempt."""
    jobs = [client.wait(one, LIMIT_S) for one in job_ids]
    for found in jobs:
        assert found.state is State.SUCCEEDED, (found.job_id, found.reason)
        assert len(found.attempts) == 1
    return jobs


def test_two_jobs_that_need_everything_and_fifty_of_mixed_sizes_all_finish(client: Client):
    first, second = ended(client, [client.submit(job(name, ALL, 100)) for name in ("a", "b")])
    assert second.last_attempt.created_s >= (first.last_attempt.ended_s or 0)
    dealt = random.Random(7)
    sizes = [list(dealt.choice(MIXED)) for _ in range(50)]
    sizes[10] = sizes[30] = ALL
    jobs = ended(client, [client.submit(job(f"m{n}", size)) for n, size in enumerate(sizes)])
    began = [one.last_attempt.created_s for one in jobs]
    assert began == sorted(began)  # nobody was overtaken, not even who needs everything

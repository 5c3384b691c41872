"""What the scheduler's tests share: a toy workload, job data, and a store of each kind."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covey.platform.jobs.memory_store import MemoryStore
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.store import JobStore

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path) -> Iterator[None]:
    """A home of the test's own, and nothing left of what the libraries' settings were."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("RAY_AUTH")]:
        del os.environ[name]
    os.environ["COVEY_HOME"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def toy_path() -> Iterator[str]:
    """The toy workload installed in this process; the folder to put on a child's PYTHONPATH."""
    sys.path.insert(0, str(TOY))
    yield str(TOY)
    sys.path.remove(str(TOY))


@pytest.fixture
def toy_job(toy_path: str) -> dict[str, Any]:
    """A job of about a second."""
    return {
        "name": "toy",
        "workload": "toy",
        "retries": {"max_attempts": 3, "backoff_s": 0.2},
        "checkpoint": {"every_env_steps": 5},
        "stop": {"env_steps": 10},
    }


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "covey.db")
    )
    yield opened
    opened.close()

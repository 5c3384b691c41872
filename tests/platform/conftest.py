"""What tests of jobs share: a toy workload, a job of it, and an environment of their own."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).parent / "toy"


@pytest.fixture
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

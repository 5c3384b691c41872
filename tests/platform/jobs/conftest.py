"""What the scheduler's tests share: a home of their own, and a store of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from covey.platform.jobs.memory_store import MemoryStore
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.store import JobStore


@pytest.fixture(autouse=True)
def each_has_its_own(own_environment: None) -> None:
    """No test of jobs uses the home of whoever runs it."""


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "covey.db")
    )
    yield opened
    opened.close()

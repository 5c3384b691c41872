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


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder holds files of a user's that are called like libraries of ours."""
    folder = tmp_path / "traps"
    folder.mkdir()
    for name in ("secrets", "psutil", "ray", "covey"):
        (folder / f"{name}.py").write_text('raise SystemExit("a user\'s file was imported")')
    monkeypatch.chdir(folder)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    opened: JobStore = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "covey.db")
    )
    yield opened
    opened.close()

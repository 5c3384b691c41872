"""How tests are spread over processes: those that start Ray in two, one after another in each."""

import os
from pathlib import Path

import pytest

# As in a job's process, and before torch multiplies: see `prepare_libraries`.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ray"):
            room = item.path.relative_to(Path(__file__).parent).parts[0]
            item.add_marker(
                pytest.mark.xdist_group("ray training" if room == "algorithms" else "ray")
            )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tests in a group would else be spread like all others, without a word."""
    if session.config.getoption("loadgroup", False):
        marked = [item for item in session.items if item.get_closest_marker("xdist_group")]
        if not all("@" in item.nodeid for item in marked):
            raise pytest.UsageError("this pytest-xdist does not group tests with this pytest")

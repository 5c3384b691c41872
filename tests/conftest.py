"""How tests are spread over processes: those that start Ray in two, one after another in each."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ray"):
            scheduled = item.path.parent.name == "jobs"
            item.add_marker(pytest.mark.xdist_group("ray jobs" if scheduled else "ray actors"))

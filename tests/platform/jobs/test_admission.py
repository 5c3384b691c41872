"""Admission: literal queues in, literal choices out."""

import time

import pytest

from covey.platform.jobs.admission import Capacity, decide
from covey.platform.jobs.job import JobRow


def job(name: str, cpus: float = 1, priority: int = 0, age: float = 0, gpus: float = 0) -> JobRow:
    return JobRow(name, name, "/r", submitted_s=100 - age, priority=priority, cpus=cpus, gpus=gpus)


CPUS = Capacity(2, 0)
TENTHS = [job(f"tenth{i}", 0.1, age=9 - i) for i in range(10)]


@pytest.mark.parametrize(
    ("queued", "active", "total", "expected"),
    [
        ([job("young"), job("old", age=5)], [], CPUS, ["old", "young"]),
        ([job("old", age=5), job("urgent", priority=1)], [], CPUS, ["urgent", "old"]),
        ([job("a", 2)], [job("runs")], CPUS, []),
        ([job("a", 2)], [], CPUS, ["a"]),
        # the head of the queue holds its place: the small one behind it waits
        ([job("big", 2, age=5), job("small")], [job("runs")], CPUS, []),
        # but one that can never fit holds nobody up
        ([job("giant", 3, age=5), job("small")], [], CPUS, ["small"]),
        ([job("b", gpus=1, age=5), job("c")], [job("g", 0.5, gpus=1)], Capacity(2, 1), []),
        (TENTHS, [job("one")], CPUS, [row.job_id for row in TENTHS]),
    ],
)
def test_who_starts(
    queued: list[JobRow], active: list[JobRow], total: Capacity, expected: list[str]
):
    assert [row.job_id for row in decide(queued, active, total).admitted] == expected


def test_what_never_fits_is_named():
    decision = decide([job("giant", 3), job("gpu", gpus=1), job("a")], [], Capacity(2, 0))
    assert sorted(row.job_id for row in decision.impossible) == ["giant", "gpu"]


def test_ten_thousand_jobs_are_decided_quickly():
    queued = [job(f"j{i}", 1 + i % 3, priority=i % 7, age=i * 7919 % 10_007) for i in range(10_000)]
    before_s = time.process_time()
    decision = decide(queued, [job("runs")], Capacity(64, 0))
    # One pass takes some hundredths of a second; comparing each with each, many seconds.
    assert time.process_time() - before_s < 2
    assert sum(row.cpus for row in decision.admitted) <= 63

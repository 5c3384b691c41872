"""The coded worker pool on Ray, its workers ended with `kill -9` while they work."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

TASKS, WORKERS = 3, 6
WORK_S = 0.2
"""Of a task; who takes a dead worker's place is there after the others' three."""
SLACK_S = 0.5
"""Of a busy machine, at which an iteration may also take half as long again."""


class Chain:
    """Each result depends on all of the iteration before, and on its last bit."""

    def compute(self, snapshot, task):
        if snapshot["broken"][0]:
            raise ZeroDivisionError("in the midst of a task")
        time.sleep(WORK_S if snapshot["slow"][0] else 0.0)
        rows = snapshot["rows"]
        return np.sin(rows[task] * 1.1 + rows.mean(axis=0) + task)


def snapshot_of(rows, slow=False, broken=False):
    return {"rows": rows, "slow": np.array([slow]), "broken": np.array([broken])}


def next_rows(rows):
    return np.stack([Chain().compute(snapshot_of(rows), task) for task in range(TASKS)])


@pytest.mark.ray
def test_killed_workers_are_not_waited_for_and_change_no_bit(tmp_path):
    """Nor are workers that are stopped, or that die by order; what a task raises is raised."""
    path = [str(Path(__file__).parent), *sys.path]
    environment = {
        **os.environ,
        "COVEY_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path),
    }
    script = "import test_pool_killed; test_pool_killed.on_ray()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def on_ray():
    from covey.platform.coding import make_code
    from covey.platform.coding.pool import CodedPool
    from covey.platform.coding.stragglers import Injection
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.actors import RayCrew

    crew = RayCrew(Resources(cpus=2), samplers=1)
    helpers = crew.helpers()()
    rows = np.linspace(0.0, 1.0, TASKS * 40).reshape(TASKS, 40)
    noted = []
    pool = CodedPool(
        helpers,
        make_code("mds", workers=WORKERS, tasks=TASKS),
        Chain,
        snapshot_of(rows),
        rows[0],
        lambda *event: noted.append(event),
        exact=True,
    )

    def went_on(victims=()):
        """One iteration, some of whose workers are killed in the midst of it."""
        pids = [helpers.pids()[f"coded {victim}"] for victim in victims]
        kill = threading.Timer(WORK_S / 3, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        kill.start()
        outcome = pool.iterate(snapshot_of(rows, slow=bool(victims)))
        kill.join()
        assert (outcome.values == next_rows(rows)).all()
        return outcome

    def shortages():
        """What was said of too few workers. That somebody is late may be said at any time."""
        return [text for kind, text in noted if kind == "waiting" and "not enough" in text]

    def healed(deaths):
        """Iterations until all dead workers have been found and their successors work."""
        nonlocal rows
        while pool.replaced < deaths or len(helpers.pids()) < WORKERS:
            rows = went_on().values
            time.sleep(0.01)

    healed(0)
    for _ in range(20):
        rows = went_on().values
    victims = (0, 2, 5)  # as many as the code can do without
    pool.injection = Injection(fixed=victims, delay_s=60.0)
    reference_s = pool.iterate(snapshot_of(rows, slow=True)).metrics["iteration_s"]
    pool.injection = Injection()
    outcome = went_on(victims)
    rows = outcome.values
    assert not set(victims) & set(outcome.received)
    assert outcome.metrics["iteration_s"] < 1.5 * reference_s + SLACK_S
    healed(3)
    assert not shortages()
    rows = went_on((0, 1, 2, 3, 5)).values  # too many: it waits for others in their place
    healed(8)
    (waited,) = shortages()
    assert "the results are not enough (mds can do without any 3)" in waited
    assert {kind for kind, _ in noted} <= {"replaced", "waiting"}
    stopped = helpers.pids()["coded 1"]
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(20):
        outcome = went_on()
        rows = outcome.values
    assert 1 not in outcome.received
    os.kill(stopped, signal.SIGCONT)
    pool.injection = Injection(crash_every=2)
    while pool.replaced < 9:
        rows = went_on().values
    pool.injection = Injection()
    healed(pool.replaced)
    for _ in range(5):
        rows = went_on().values
    with pytest.raises(ZeroDivisionError, match="in the midst of a task"):
        pool.iterate(snapshot_of(rows, broken=True))
    pool.close()
    crew.close()

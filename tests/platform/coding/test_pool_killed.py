"""The coded worker pool on Ray, its workers ended with `kill -9` while they work."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

TASKS, WORKERS = 3, 6
LIMIT_S = 900
"""Only a test that fails takes so long."""


class Gates:
    """Files that hold up workers wherever they are: all in their tasks until `opened` is there, who
    starts while `shut` is there. `seen` appears when somebody is in a task.
    """

    def __init__(self, folder):
        self.opened, self.shut, self.seen = (folder / name for name in ("opened", "shut", "seen"))


def until(condition):
    while not condition():
        time.sleep(0.005)


class Chain:
    """Each result depends on all of the iteration before, and on its last bit."""

    def __init__(self, gates=None):
        self.gates = gates
        if gates is not None:
            until(lambda: not gates.shut.exists())

    def compute(self, snapshot, task):
        if snapshot["broken"][0]:
            raise ZeroDivisionError("in the midst of a task")
        if snapshot["held"][0]:
            self.gates.seen.touch()
            until(self.gates.opened.exists)
        rows = snapshot["rows"]
        return np.sin(rows[task] * 1.1 + rows.mean(axis=0) + task)


def snapshot_of(rows, held=False, broken=False):
    return {"rows": rows, "held": np.array([held]), "broken": np.array([broken])}


def next_rows(rows):
    return np.stack([Chain().compute(snapshot_of(rows), task) for task in range(TASKS)])


@contextmanager
def killing(pids, gates, alone):
    """Within, these are killed in the midst of tasks, which then may end; if the others are to be
    `alone`, nobody takes a dead one's place before.
    """

    def kill():
        until(gates.seen.exists)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        gates.opened.touch()

    if alone:
        gates.shut.touch()
    killer = threading.Thread(target=kill if pids else gates.opened.touch)
    killer.start()
    yield
    killer.join()
    for gate in (gates.opened, gates.shut, gates.seen):
        gate.unlink(missing_ok=True)


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
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=LIMIT_S)


def on_ray():
    from covey.platform.coding import make_code
    from covey.platform.coding.pool import CodedPool
    from covey.platform.coding.stragglers import Injection
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.actors import RayCrew

    crew = RayCrew(Resources(cpus=2), samplers=1)
    helpers = crew.helpers()()
    rows = np.linspace(0.0, 1.0, TASKS * 40).reshape(TASKS, 40)
    gates, noted = Gates(Path(os.environ["COVEY_HOME"])), []
    pool = CodedPool(
        helpers,
        make_code("mds", workers=WORKERS, tasks=TASKS),
        partial(Chain, gates),
        snapshot_of(rows),
        rows[0],
        lambda *event: noted.append(event),
        exact=True,
    )

    def went_on(victims=(), alone=False):
        """One iteration, some of whose workers are killed in the midst of it."""
        pids = [helpers.pids()[f"coded {victim}"] for victim in victims]
        with killing(pids, gates, alone):
            outcome = pool.iterate(snapshot_of(rows, held=bool(victims)))
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
    outcome = went_on(victims, alone=True)
    rows = outcome.values
    assert not set(victims) & set(outcome.received)
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

"""Calls over direct lines to Ray actors, which can be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from desk import Desk, resident_bytes

from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.direct_crew import DirectCrew

LONG_S = 600.0
"""Nobody waits for who is dead."""


@pytest.mark.ray
def test_on_ray(tmp_path):
    # In a process of its own: Ray leaves files open, which here would be errors.
    path = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "COVEY_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(path)}
    script = "import test_direct_ray; test_direct_ray.on_ray()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def on_ray():
    """A worker that is killed over a call, one in its place, and a thousand shared values."""
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.even_crew import EvenCrew

    crew = DirectCrew(EvenCrew(Resources(cpus=2), 3, "local"))  # a third is no decimal number
    folder = Path(crew._door.path).parent
    first, second = (crew.spawn(f"desk {index}", Desk) for index in range(2))
    pid, other = crew.fetch([first.submit("process"), second.submit("process")])
    assert crew.pids() == {"desk 0": pid, "desk 1": other}
    calls = [first.submit("sleep", LONG_S), first.submit("note")]
    crew.wait(calls, 0.5)
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    crew.wait(calls, LONG_S)
    assert time.monotonic() - began < LONG_S / 10
    for call in calls:
        with pytest.raises(WorkerLost, match="desk 0 died"):
            crew.fetch([call])
    assert crew.fetch([second.submit("note")]) == [1]
    first = crew.spawn("desk 0", Desk)
    assert crew.fetch([first.submit("note")]) == [1]
    check_memory(crew, [first, second])
    crew.close()
    assert not folder.exists()


def check_memory(crew, workers):
    """That a thousand shared values of 400 KB leave nothing behind."""
    value, before = [np.ones(100_000, np.float32)], None
    for number in range(1100):
        shared = crew.share(value)
        crew.fetch([worker.submit("look", shared) for worker in workers])
        if number in (99, 1099):
            theirs = crew.fetch([worker.submit("resident_bytes") for worker in workers])
            after, before = [resident_bytes(), *theirs], before or [resident_bytes(), *theirs]
    assert all(b - a < 8 * 2**20 for a, b in zip(before, after, strict=True)), (before, after)

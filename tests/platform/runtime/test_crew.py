"""One contract for workers, run inline and on Ray actors; then what only actors can do: die."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from covey.platform.errors import UserError
from covey.platform.jobfile.model import Resources
from covey.platform.runtime import actors, ray_cluster
from covey.platform.runtime.crew import InlineCrew


class Counter:
    """Something to call."""

    def __init__(self, start):
        self.value = start

    def add(self, *amounts):
        self.value += sum(amounts)
        return self.value

    def fail(self):
        raise UserError("lamp broken")

    @staticmethod
    def misbuilt():
        raise UserError("no such lamp")

    def process(self):
        return os.getpid()

    def niceness(self):
        return os.nice(0)


def check_contract(crew):
    """What every crew keeps to."""
    first, second = crew.spawn("sampler 0", Counter, 1), crew.spawn("learner", Counter, 10)
    one = first.submit("add", 1)
    two = second.submit("add", one, 3)  # a result that may be pending goes straight on
    three = second.submit("add", 1)  # in the order of submission
    assert crew.fetch([three, two, one]) == [16, 15, 2]
    assert crew.is_ready(three)
    try:
        crew.fetch([first.submit("fail")])
    except UserError as error:
        assert str(error) == "lamp broken"
    else:
        raise AssertionError("a UserError of the worker did not come through")
    assert crew.fetch([first.submit("add", 0)]) == [2]
    return first


def test_inline():
    crew = InlineCrew()
    check_contract(crew)
    crew.close()


def test_inline_workers_are_closed():
    closed = []

    class Door:
        def close(self):
            closed.append(self)

    crew = InlineCrew()
    crew.spawn("door", Door)
    crew.spawn("no door", Counter, 1)
    crew.close()
    assert len(closed) == 1


@pytest.mark.ray
def test_ray_actors(tmp_path):
    # In a process of its own: Ray leaves files open, which here would be errors.
    environment = {
        **os.environ,
        "COVEY_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    script = "import test_crew; test_crew.ray_actors_by_themselves()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def ray_actors_by_themselves():
    import signal

    from covey.platform.runtime.crew import WorkerLost

    def handler(number, frame):
        raise AssertionError

    signal.signal(signal.SIGTERM, handler)
    crew = actors.RayCrew(Resources(cpus=1.5), samplers=1)
    assert signal.getsignal(signal.SIGTERM) is handler
    worker = check_contract(crew)
    behind = crew.spawn("viewer", Counter, 1)
    last, own = crew.fetch([behind.submit("niceness"), worker.submit("niceness")])
    assert own == os.nice(0) and last == min(19, own + actors.NICENESS)
    (victim,) = crew.fetch([worker.submit("process")])
    assert victim != os.getpid()
    os.kill(victim, signal.SIGKILL)
    try:
        crew.fetch([worker.submit("add", 1)])
    except WorkerLost as error:
        assert "sampler 0 died" in str(error)
    else:
        raise AssertionError("the worker's death went unnoticed")
    misbuilt = crew.spawn("evaluator", Counter.misbuilt)
    try:
        crew.fetch([misbuilt.submit("add", 1)])
    except UserError as error:
        assert str(error) == "no such lamp"
    else:
        raise AssertionError("a UserError of the worker's factory did not come through")
    ray_cluster.PLACEMENT_LIMIT_S = 0.5
    try:
        ray_cluster.place([{"CPU": 64.0}])
    except UserError as error:
        assert "64 CPU wanted, 2 there" in str(error)
    else:
        raise AssertionError("a job that fits nowhere was placed")
    try:
        ray_cluster.place([{"CPU": 1.5}])  # the crew holds that much already
    except ray_cluster.NoRoom as error:
        assert "1.5 CPU wanted, 0.5 free" in str(error)
    else:
        raise AssertionError("a job was placed where there is no room left")
    crew.close()


def test_a_signal_while_ray_starts_reaches_who_waits_for_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(ray_cluster.StartInterrupted), ray_cluster.keeping_signal_handlers():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exit_nobody_noticed_reaches_them_too():
    """As when it comes in a hook of a fork: what is raised there is printed, and that is all."""

    class Swallows:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with ray_cluster.keeping_signal_handlers():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            Swallows()
        assert heard == [signal.SIGTERM]
        with ray_cluster.keeping_signal_handlers():
            pass
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)

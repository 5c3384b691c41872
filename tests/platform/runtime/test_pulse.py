"""Who hangs is told from who is busy, and from who was not looked at."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from covey.platform.runtime import pulse
from covey.platform.runtime.crew import InlineCrew, WorkerLost
from covey.platform.runtime.pulse import Pulse


class Busy:
    """Answers nothing for a long time."""

    def __init__(self):
        time.sleep(600)


class OneProcess:
    """See `Crew`."""

    def spawn(self, name, factory, *arguments):
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=factory, args=arguments, daemon=True)
        self.process.start()
        return self


@pytest.fixture
def worker():
    crew = OneProcess()
    yield crew
    crew.process.kill()
    crew.process.join()


def test_who_is_stopped_is_killed_and_who_is_only_busy_is_not(worker, monkeypatch):
    monkeypatch.setattr(pulse, "SILENCE_S", 3.0)
    watched = Pulse("learner")
    watched.spawn(worker, Busy)
    while not watched._words[pulse._SIGNS]:
        watched.check()  # one that is still starting has all the time it takes
        time.sleep(0.05)
    busy_until_s = time.monotonic() + 4.0
    while time.monotonic() < busy_until_s:
        watched.check()
        time.sleep(0.05)
    os.kill(worker.process.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match="learner gave no sign for 3 s and was killed"):
        while True:
            watched.check()
            time.sleep(0.05)
    worker.process.join(60)
    assert worker.process.exitcode == -signal.SIGKILL


def test_signs_end_with_who_sees_them():
    """Also of a worker that is no process of its own."""
    watched, before = Pulse("learner"), threading.enumerate()
    watched.spawn(InlineCrew(), dict)
    (thread,) = [one for one in threading.enumerate() if one not in before]
    watched.check()
    del watched
    thread.join(60)
    assert not thread.is_alive()


def test_time_in_which_nobody_looked_does_not_count(worker, monkeypatch):
    """As when the whole job is stopped for a while, or the machine."""
    clock = SimpleNamespace(now_s=0.0, monotonic=lambda: clock.now_s)
    monkeypatch.setattr(pulse, "time", clock)
    watched = Pulse("critic")
    worker.spawn("", time.sleep, 600)
    watched._words[pulse._SIGNS], watched._words[pulse._PID] = 1, worker.process.pid
    watched.check()
    clock.now_s += 3600.0
    watched.check()
    assert worker.process.is_alive()
    with suppress(WorkerLost):
        for _ in range(100):
            clock.now_s += 0.9
            watched.check()
    assert 3600 + 57 < clock.now_s < 3600 + 63

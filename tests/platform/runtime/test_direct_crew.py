"""Calls over direct lines: to threads of the test's process, and to Ray actors that are killed."""

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client
from pathlib import Path

import numpy as np
import pytest
from test_crew import check_contract
from thread_crew import ThreadCrew

from covey.platform.errors import UserError
from covey.platform.runtime import direct_door
from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.direct_crew import DirectCrew
from covey.platform.runtime.direct_line import Line
from covey.platform.runtime.direct_worker import DirectWorker

BIG = 20 * 2**20


class Odd(Exception):
    """Cannot be opened again: its arguments are not what it was made with."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Desk:
    """Something to call."""

    def __init__(self, gate=None):
        if gate is not None:
            gate.wait()
        self.kept, self.seen = None, []

    def note(self, *values):
        self.seen.append(values)
        return len(self.seen)

    def look(self, arrays):
        """What the arrays are like, and whether they are those of the call before."""
        before, self.kept = self.kept, arrays
        writeable = [array.flags.writeable for array in arrays]
        again = before is not None and np.shares_memory(before[0], arrays[0])
        return writeable, again, [float(array.sum()) for array in arrays]

    def double(self, array):
        array *= 2  # it is the worker's own
        return array

    def fail(self, error):
        raise error

    def odd(self):
        raise Odd("ebb", "flow")

    def lock(self):
        return threading.Lock()

    def process(self):
        return os.getpid()

    def sleep(self, seconds):
        time.sleep(seconds)

    def resident_bytes(self):
        return resident_bytes()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def threads():
    return ThreadCrew()


@pytest.fixture
def crew(threads):
    crew = DirectCrew(threads)
    yield crew
    crew.close()


def test_it_is_a_crew(crew):
    check_contract(crew)


def test_calls_wait_for_the_worker_and_nobody_for_them(crew):
    gate = threading.Event()
    slow, quick = crew.spawn("desk 0", Desk, gate), crew.spawn("desk 1", Desk)
    calls = [slow.submit("note", index) for index in range(5)]
    assert crew.fetch([quick.submit("note", 0)]) == [1]
    began = time.monotonic()
    crew.wait(calls, 0.1)
    assert 0.1 <= time.monotonic() - began < 5
    assert not any(map(crew.is_ready, calls))
    handed_on = quick.submit("note", calls[2])  # which is not there yet
    gate.set()
    crew.wait(calls, 60.0)
    assert crew.fetch([handed_on, *calls]) == [2, 1, 2, 3, 4, 5]


def test_a_shared_value_is_read_where_it_lies(crew):
    workers = [crew.spawn(f"desk {index}", Desk) for index in range(2)]
    arrays = [np.ones(50_000, np.float32), np.ones((2, 3)), np.zeros(0)]
    shared = crew.share(arrays)
    arrays[0][:] = 5  # too late
    sums = [50_000.0, 6.0, 0.0]
    for again in (False, True):
        calls = [worker.submit("look", shared) for worker in workers]
        assert crew.fetch(calls) == [([False] * 3, again, sums)] * 2
    (mine,) = crew.fetch([shared])
    assert [array.sum() for array in mine] == sums and not mine[0].flags.writeable
    del shared, mine  # the next one may lie where it lay
    other = crew.share([np.full(50_000, 2, np.float32)])
    assert crew.fetch([workers[0].submit("look", other)]) == [([False], False, [100_000.0])]


def test_exceptions_are_what_they_were_and_the_line_stays_good(crew):
    worker = crew.spawn("desk 0", Desk)

    def error_of(method, *arguments):
        with pytest.raises(Exception) as raised:
            crew.fetch([worker.submit(method, *arguments)])
        return raised.value

    own = error_of("fail", UserError("lamp broken"))
    assert type(own) is UserError and own.__cause__ is None
    plain = error_of("fail", ValueError("too dark"))
    assert type(plain) is ValueError and "in fail" in str(plain.__cause__)
    assert "Odd: ebb and flow" in str(error_of("odd"))
    assert "lock returned what cannot be sent" in str(error_of("lock"))
    assert "pickle" in str(error_of("note", threading.Lock()))
    assert "no attribute 'dance'" in str(error_of("dance"))
    assert crew.fetch([worker.submit("note")]) == [1]


def test_what_a_factory_raises_is_raised_by_every_call(crew):
    def misbuilt():
        raise UserError("no such lamp")

    worker = crew.spawn("desk 0", misbuilt)
    for _ in range(2):
        with pytest.raises(UserError, match="no such lamp"):
            crew.fetch([worker.submit("note")])


def test_large_messages_both_ways(crew):
    worker = crew.spawn("desk 0", Desk)
    calls = [worker.submit("double", np.full(BIG // 8, float(n))) for n in range(3)]
    for n, doubled in enumerate(crew.fetch(calls)):
        assert doubled.nbytes == BIG and set(doubled[::1000]) == {2.0 * n}
        doubled += 1
    (small,) = crew.fetch([worker.submit("double", np.arange(3))])
    small += 1
    assert small.tolist() == [1, 3, 5]


def test_strangers_are_sent_away(crew, monkeypatch):
    monkeypatch.setattr(direct_door, "PATIENCE_S", 0.1)
    path = crew._door.path
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    refused = []

    def knock():
        try:
            Client(path, "AF_UNIX", authkey=b"guessed")
        except AuthenticationError as error:
            refused.append(error)

    stranger = threading.Thread(target=knock)
    stranger.start()
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as babbling:
        silent.connect(path)
        babbling.connect(path)
        babbling.send(b"\x00\x00\x00\x05hello" * 100)
        worker = crew.spawn("desk 0", Desk)
        assert crew.fetch([worker.submit("note")]) == [1]
        crew.wait([worker.submit("sleep", 0.5)], 60.0)
    stranger.join()
    assert len(refused) == 1


def test_who_can_have_no_line_is_called_through_the_other_crew(crew, threads):
    crew._door.path, door = "/nowhere/door", crew._door.path
    far = crew.spawn("desk 0", Desk)
    crew._door.path = door
    near = crew.spawn("desk 1", Desk)
    shared = crew.share([np.ones(9)])
    calls = [worker.submit("look", shared) for worker in (near, far)]
    assert [sums for _, _, sums in crew.fetch(calls)] == [[9.0], [9.0]]
    noted = far.submit("note", calls[0])
    crew.wait([noted], 60.0)
    assert crew.is_ready(noted) and crew.fetch([noted, near.submit("note", noted)]) == [1, 1]
    with pytest.raises(UserError, match="lamp"):
        crew.fetch([far.submit("fail", UserError("lamp"))])
    assert len(threads.newest("desk 0").asked) == 4 and len(threads.newest("desk 1").asked) == 1
    waiting = far.submit("sleep", 0.1)
    threads.newest("desk 0").lose()
    for call in (waiting, far.submit("note")):
        with pytest.raises(WorkerLost, match="desk 0 died"):
            crew.fetch([call])


@pytest.mark.parametrize("lose", ["inner", "end", "close", "same name", "before its start"])
def test_calls_of_a_lost_worker(lose):
    threads, gate = ThreadCrew(), threading.Event()
    crew = DirectCrew(threads)
    first, other = crew.spawn("desk 0", Desk, gate), crew.spawn("desk 1", Desk)
    if lose != "before its start":
        gate.set()
        crew.fetch([first.submit("note")])
    calls = [first.submit("sleep", 0.2), first.submit("note")]
    handed_on = other.submit("note", calls[1])
    if lose == "end":
        crew.end(first)
    elif lose == "close":
        crew.close()
    elif lose == "same name":
        crew.spawn("desk 0", Desk)
    else:
        threads.newest("desk 0").lose()
    for call in (*calls, first.submit("note"), *([] if lose == "close" else [handed_on])):
        with pytest.raises(WorkerLost, match="desk 0 died"):
            crew.fetch([call])
    gate.set()
    if lose != "close":
        assert crew.fetch([other.submit("note")]) == [1]
        crew.close()


@pytest.mark.parametrize("said", [b"", struct.pack("!i", 1000) + b"half", b"\0\0\0\3abc"])
def test_a_line_that_breaks_is_a_lost_worker(said):
    mine, its = Pipe()
    worker = DirectWorker("desk 0", None, None)
    worker.line = Line(mine)
    worker.submit("note")
    its.recv_bytes()
    os.write(its.fileno(), said)
    its.close()
    with pytest.raises(WorkerLost, match="desk 0 died"):
        worker.hear()
    worker.lose("desk 0 died")


def test_nothing_is_left_behind():
    crew = DirectCrew(ThreadCrew())
    folder = Path(crew._door.path).parent
    worker = crew.spawn("desk 0", Desk)
    crew.fetch([worker.submit("double", np.ones(50_000))])
    assert folder.exists()
    crew.close()
    assert not folder.exists()


@pytest.mark.ray
def test_on_ray(tmp_path):
    # In a process of its own: Ray leaves files open, which here would be errors.
    path = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "COVEY_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(path)}
    script = "import test_direct_crew; test_direct_crew.on_ray()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def on_ray():
    """A worker that is killed over a call, one in its place, and a thousand shared values."""
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime.even_crew import EvenCrew

    crew = DirectCrew(EvenCrew(Resources(cpus=2), 2, "local"))
    folder = Path(crew._door.path).parent
    first, second = (crew.spawn(f"desk {index}", Desk) for index in range(2))
    pid, other = crew.fetch([first.submit("process"), second.submit("process")])
    assert crew.pids() == {"desk 0": pid, "desk 1": other}
    calls = [first.submit("sleep", 60.0), first.submit("note")]
    crew.wait(calls, 0.5)
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    crew.wait(calls, 60.0)
    assert time.monotonic() - began < 1.0
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

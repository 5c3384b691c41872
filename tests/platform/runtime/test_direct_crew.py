"""Calls over direct lines to workers in threads of the test's own process."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from desk import Desk
from test_crew import check_contract
from thread_crew import ThreadCrew

from covey.platform.errors import UserError
from covey.platform.runtime.crew import WorkerLost
from covey.platform.runtime.direct_crew import DirectCrew

BIG = 20 * 2**20


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


def test_nothing_is_left_behind():
    crew = DirectCrew(ThreadCrew())
    folder = Path(crew._door.path).parent
    worker = crew.spawn("desk 0", Desk)
    crew.fetch([worker.submit("double", np.ones(50_000))])
    assert folder.exists()
    crew.close()
    assert not folder.exists()

"""What goes wrong with coded workers: they hang, die again and again, start late, raise; and what
becomes of the choice among codes then. In threads of this process.
"""

import fcntl
import os
import threading
import time
from contextlib import contextmanager
from math import inf

import numpy as np
import pytest
from thread_crew import ThreadCrew

from covey.platform.coding import make_code, members, pool, worker
from covey.platform.coding.board import Board, BoardHandle, BoardSpec
from covey.platform.coding.chooser import FLOOR_S, WINDOW, Chooser
from covey.platform.coding.code import HEAVY_NICENESS
from covey.platform.coding.members import Order
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.stragglers import CRASH, Injection
from covey.platform.coding.worker import ANSWER, DONE, ORDER, CodedWorker
from covey.platform.errors import UserError
from covey.platform.runtime.layout import Layout
from covey.platform.runtime.pipe import Pipe

SNAPSHOT = {"rows": np.arange(200.0).reshape(4, 50)}
LIMIT_S = 180.0
"""Only a test that fails takes so long."""


class Doubling:
    def compute(self, snapshot, task):
        return snapshot["rows"][task] * 2


class Gated(Doubling):
    """Tasks that stop at a closed gate."""

    def __init__(self, gates):
        self.gates = gates

    def compute(self, snapshot, task):
        assert self.gates[task].wait(LIMIT_S)
        return super().compute(snapshot, task)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(pool, "LOOK_S", 0.02)


@pytest.fixture
def make_pool():
    pools = []

    def make(name="mds", workers=7, crew=None, make_tasks=Doubling, note=None, **settings):
        noted = []
        code = make_code(name, workers=workers, tasks=4)
        note = note or (lambda *event: noted.append(event))
        made = CodedPool(
            crew or ThreadCrew(), code, make_tasks, SNAPSHOT, SNAPSHOT["rows"][0], note, **settings
        )
        made.noted = noted
        pools.append(made)
        return made

    yield make
    for made in pools:
        made.close()


def check(outcome):
    np.testing.assert_allclose(outcome.values, SNAPSHOT["rows"] * 2, rtol=0, atol=1e-9)
    return outcome


def lose(crew, coded, index):
    """A worker dies, and is found to have."""
    before = coded.replaced
    crew.newest(f"coded {index}").lose()
    deadline_s = time.monotonic() + LIMIT_S
    while coded.replaced == before:
        check(coded.iterate(SNAPSHOT))
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@contextmanager
def within(seconds):
    """In a thread: what hangs is a failure, not the end of all tests."""
    failures = []

    def act(action):
        try:
            action()
        except BaseException as error:
            failures.append(error)

    def run(action):
        thread = threading.Thread(target=act, args=(action,), daemon=True)
        thread.start()
        thread.join(seconds)
        assert not thread.is_alive(), "it hangs"
        if failures:
            raise failures[0]

    yield run


def test_a_worker_that_hangs_delays_nobody_and_works_again_when_it_goes_on(make_pool, monkeypatch):
    create = Pipe.create.__func__

    def small(cls, form):
        made = create(cls, form)
        fcntl.fcntl(made._fd, fcntl.F_SETPIPE_SZ, 4096)  # 170 orders
        return made

    monkeypatch.setattr(Pipe, "create", classmethod(small))
    opened, closed = threading.Event(), threading.Event()
    opened.set()
    hung = [closed]  # the first worker to come by

    class Hanging(Doubling):
        def compute(self, snapshot, task):
            gate = hung.pop() if task == 0 and hung else opened
            assert gate.wait(LIMIT_S)
            return super().compute(snapshot, task)

    coded = make_pool("replication", 8, make_tasks=Hanging)
    with within(LIMIT_S) as run:
        run(lambda: [check(coded.iterate(SNAPSHOT)) for _ in range(400)])
    seen = set()
    closed.set()
    deadline_s = time.monotonic() + LIMIT_S
    while not {0, 4} <= seen and time.monotonic() < deadline_s:
        seen |= set(check(coded.iterate(SNAPSHOT)).received)
    assert {0, 4} <= seen


def test_a_pool_with_a_worker_that_hangs_can_be_closed(make_pool):
    gate = threading.Event()
    coded = make_pool("uncoded", 4, make_tasks=lambda: Gated([gate] * 4))
    coded._members.begin(Order(0, 0, [0.0] * 4))
    for _ in range(3000):
        coded._members.give([0])
    with within(LIMIT_S) as run:
        run(coded.close)
    coded.close = lambda: None
    gate.set()


@pytest.mark.parametrize(
    ("index", "settings"),
    [(0, {"injection": Injection(fixed=(0,), delay_s=60.0)}), (6, {"cores": 1})],
    ids=["always late", "hardly ever asked"],
)
def test_who_never_answers_in_time_may_die_as_often_as_it_likes(make_pool, index, settings):
    crew = ThreadCrew()
    coded = make_pool(crew=crew, **settings)
    check(coded.iterate(SNAPSHOT))
    for _ in range(2 * members.STARTS):
        coded.wait_until_started()
        lose(crew, coded, index)
    assert coded.replaced == 2 * members.STARTS


@pytest.mark.parametrize("call", ["connect", "run"])
def test_who_dies_at_its_start_again_and_again_ends_it(make_pool, call):
    coded = make_pool("uncoded", 4, crew=ThreadCrew(coded=[call] * 60))
    with pytest.raises(RuntimeError, match=r"coded \d died; 3 in a row never answered"):
        coded.iterate(SNAPSHOT)


def test_what_a_worker_raises_when_it_connects_is_told(make_pool, monkeypatch):
    def refuse(handle):
        raise UserError("no such board")

    monkeypatch.setattr(BoardHandle, "attach", refuse)
    coded = make_pool()
    with pytest.raises(UserError, match="no such board"):
        coded.iterate(SNAPSHOT)


class Raising(Doubling):
    def compute(self, snapshot, task):
        raise ZeroDivisionError(f"in task {task}")


def test_what_a_task_raises_is_raised(make_pool):
    with pytest.raises(ZeroDivisionError, match="in task"):
        make_pool("uncoded", 4, make_tasks=Raising).iterate(SNAPSHOT)


def test_who_has_not_started_again_counts_as_missing_in_later_iterations(make_pool):
    gate, made = threading.Event(), []

    class Starting(Doubling):
        def __init__(self):
            made.append(self)
            if len(made) > 7:
                assert gate.wait(LIMIT_S)

    said = []

    def note(kind, message):
        said.append(message)
        if kind == "waiting":
            gate.set()

    crew = ThreadCrew()
    coded = make_pool(crew=crew, make_tasks=Starting, note=note)
    check(coded.iterate(SNAPSHOT))
    for index in (0, 1, 2):
        lose(crew, coded, index)
    check(coded.iterate(SNAPSHOT))
    crew.newest("coded 3").lose()
    check(coded.iterate(SNAPSHOT))
    (told,) = [message for message in said if "in their place" in message]
    assert told.startswith("without coded workers 0, 1, 2, 3 the results are not enough")


@pytest.fixture
def crashes(monkeypatch):
    """Workers that would have ended their process."""
    found = []
    monkeypatch.setattr(worker.os, "kill", lambda pid, number: found.append((pid, number)))
    return found


def test_an_order_to_die_is_over_with_its_iteration(crashes):
    code = make_code("mds", workers=4, tasks=2)
    board = Board.create(BoardSpec(Layout.of(SNAPSHOT), 4, 2, 50 * 8))
    orders, answers = Pipe.create(ORDER), Pipe.create(ANSWER)
    board.publish(11, SNAPSHOT)
    board.end(10)
    coded = CodedWorker(Doubling, [code], 0)
    coded.connect(board.handle, orders.handle, answers.handle)
    for order in ((3, 0, CRASH), (11, 0, 0.0), (-1, 0, 0.0)):
        orders.send(*order)
    coded.run()
    assert not crashes
    assert answers.receive(0.0)[:3] == (0, DONE, 11)
    for order in ((12, 0, CRASH), (-1, 0, 0.0)):
        orders.send(*order)
    coded.run()
    assert [pid for pid, _ in crashes] == [os.getpid()]
    for channel in (board, orders, answers):
        channel.close()


def test_an_iteration_can_be_given_up_from_outside_and_the_next_one_goes_on(make_pool, monkeypatch):
    monkeypatch.setattr(pool, "PATIENT_S", 0.1)
    gates = [threading.Event() for _ in range(4)]
    for gate in gates[1:]:
        gate.set()

    class Enough(Exception):
        pass

    def meanwhile():
        raise Enough

    coded = make_pool("uncoded", 4, make_tasks=lambda: Gated(gates), meanwhile=meanwhile)
    with pytest.raises(Enough):
        coded.iterate(SNAPSHOT)
    gates[0].set()
    coded.meanwhile = lambda: None
    check(coded.iterate(SNAPSHOT))


# The choice among codes.


class Recorded(Chooser):
    """Tells what it is told."""

    def __init__(self, names, say):
        super().__init__(names, say)
        self.names, self.told = names, []

    def took(self, code, seconds):
        self.told.append((code, seconds))
        super().took(code, seconds)


@pytest.fixture
def choosing(make_pool, monkeypatch):
    monkeypatch.setattr(pool, "Chooser", Recorded)

    def make(workers=8, **settings):
        others = [make_code("uncoded", workers=4, tasks=4)]
        return make_pool("mds", workers, others=others, **settings)

    return make


def test_iterations_in_which_workers_start_do_not_count_for_a_choice(choosing):
    made, there = [], []

    class Starting(Doubling):
        def __init__(self):
            made.append(self)
            time.sleep(0.05 * len(made) if len(made) <= 8 else 0.5)
            there.append(self)

    crew = ThreadCrew()
    coded = choosing(crew=crew, make_tasks=Starting)
    told = coded._chooser.told

    def iterate():
        """What is counted began with all workers there and none in a dead one's place."""
        before, counted = (len(made), len(there)), len(told)
        check(coded.iterate(SNAPSHOT))
        if len(told) > counted:
            assert before == (len(made), len(there)) == (len(made),) * 2

    while not told:
        iterate()
    assert len(made) == 8 and not coded._members.starting()
    while coded._chooser._trials:
        iterate()
    counted = len(told)
    crew.newest("coded 1").lose()
    while not coded.replaced or coded._members.starting():
        iterate()
    while len(told) < counted + 5:
        iterate()


def test_a_chosen_code_that_has_become_slow_is_given_up(choosing):
    """Here for a worker that hangs: nobody would ever hear of it."""
    gate, hung = threading.Event(), []

    class Hanging(Doubling):
        def compute(self, snapshot, task):
            if task == 0 and hung:
                hung.pop()
                gate.wait(LIMIT_S)
            return super().compute(snapshot, task)

    coded = choosing(make_tasks=Hanging)
    while coded._chooser._chosen is None:
        check(coded.iterate(SNAPSHOT))
    coded._chooser._chosen, coded._chooser._chosen_s = 1, 1e-6  # uncoded
    for candidate in coded._chooser._candidates:  # and the others are thought to be as fast
        candidate.times.extend([1e-6] * WINDOW)
    hung.append(1)
    with within(LIMIT_S) as run:
        run(lambda: [check(coded.iterate(SNAPSHOT)) for _ in range(20)])
    gate.set()
    assert not hung
    assert any("trying again what was faster" in message for _, message in coded.noted)


def test_what_was_given_up_counts_as_the_iterations_time(choosing):
    coded = choosing(injection=Injection(fixed=(0,), delay_s=5.0))
    while not any(seconds == inf for _, seconds in coded._chooser.told):
        outcome = check(coded.iterate(SNAPSHOT))
    assert outcome.metrics["iteration_s"] >= FLOOR_S


def test_codes_for_sums_are_told_apart_by_what_they_tolerate(monkeypatch):
    monkeypatch.setattr(pool, "Chooser", Recorded)
    first, *others = (
        make_code("fractional-repetition", workers=6, tasks=6, stragglers=s) for s in (2, 1)
    )
    others.append(make_code("uncoded", workers=6, tasks=6))
    rows = {"rows": np.ones((6, 50))}
    made = CodedPool(ThreadCrew(), first, Doubling, rows, rows["rows"][0], print, others=others)
    assert made._chooser.names == [
        "fractional-repetition of 6 (tolerates 2)",
        "fractional-repetition of 6 (tolerates 1)",
        "uncoded of 6",
    ]
    made.close()


def test_who_is_like_all_others_under_some_code_does_not_stand_back(make_pool):
    crews = [ThreadCrew(), ThreadCrew()]
    make_pool("mds", 8, crew=crews[0])
    others = [
        make_code("replication", workers=8, tasks=4),
        make_code("uncoded", workers=4, tasks=4),
    ]
    make_pool("mds", 8, crew=crews[1], others=others)
    niceness = [
        [crew.newest(f"coded {index}").arguments[3] for index in range(8)] for crew in crews
    ]
    assert niceness == [[0] * 4 + [HEAVY_NICENESS] * 4, [0] * 8]

"""The coded worker pool, with workers in threads that are lost whenever a test says so; and on Ray,
where they are killed.
"""

from math import inf

import numpy as np
import pytest
from thread_crew import ThreadCrew

from covey.platform.coding import chooser, make_code, pool, waiting, worker
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.stragglers import Injection
from covey.platform.errors import UserError

TASKS = 4
SNAPSHOT = {
    "number": np.zeros(1, dtype=np.int64),
    "weights": np.random.default_rng(0).standard_normal((TASKS, 50)),
    "poison": np.zeros(1, dtype=np.int64),
}


class Doubling:
    """Task i's result depends on its weights and on the snapshot's number; tasks before `poison`
    give numbers that are none.
    """

    def compute(self, snapshot, task):
        if task < snapshot["poison"][0]:
            return np.full(50, np.nan)
        return snapshot["weights"][task] * 2 + snapshot["number"]


CHEAPER = [("replication", 8), ("uncoded", TASKS)]


def numbered(number):
    return {**SNAPSHOT, "number": np.array([number])}


def expected(number):
    return SNAPSHOT["weights"] * 2 + number


@pytest.fixture
def make_pool():
    """Makes pools on threads; `noted` are their events."""
    pools = []

    def make(name="mds", workers=7, tasks=TASKS, crew=None, make_tasks=Doubling, **settings):
        noted = []
        code = make_code(name, workers=workers, tasks=tasks)
        template, result = SNAPSHOT, SNAPSHOT["weights"][0]
        note = lambda *event: noted.append(event)  # noqa: E731
        made = CodedPool(crew or ThreadCrew(), code, make_tasks, template, result, note, **settings)
        made.noted = noted
        pools.append(made)
        return made

    yield make
    for made in pools:
        made.close()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("name", "workers", "stragglers"), [("uncoded", 4, 0), ("replication", 8, 1), ("mds", 7, 3)]
)
def test_every_iteration_gives_all_results_and_waits_for_no_straggler(
    make_pool, name, workers, stragglers, exact
):
    injection = Injection(stragglers=stragglers, delay_s=60.0)
    coded = make_pool(name, workers, exact=exact, injection=injection)
    for iteration in range(20):
        outcome = coded.iterate(numbered(iteration))
        if exact:
            np.testing.assert_array_equal(outcome.values, expected(iteration))
        else:
            np.testing.assert_allclose(outcome.values, expected(iteration), rtol=0, atol=1e-12)
        metrics = outcome.metrics
        assert metrics["iteration_s"] < 10 and metrics["decode_s"] < metrics["iteration_s"]
        assert TASKS <= metrics["results_used"] <= len(outcome.received) <= workers
        assert metrics["decode_error_bound"] <= 1e-12


@pytest.mark.parametrize("exact", [False, True])
def test_on_one_core_workers_take_turns_and_no_straggler_is_waited_for(make_pool, exact):
    injection = Injection(fixed=(0, 1, 2), delay_s=60.0)
    coded = make_pool(cores=1, exact=exact, injection=injection)
    for iteration in range(10):
        outcome = coded.iterate(numbered(iteration))
        np.testing.assert_allclose(outcome.values, expected(iteration), rtol=0, atol=1e-12)
        assert set(outcome.received) == {3, 4, 5, 6}  # those that are there for stragglers


def test_of_copies_only_as_many_count_as_used_as_there_are_tasks(make_pool):
    for exact in (False, True):
        coded = make_pool("replication", 12, exact=exact)
        for iteration in range(10):
            assert coded.iterate(numbered(iteration)).metrics["results_used"] == TASKS


def test_late_results_are_those_of_an_iteration(make_pool):
    coded = make_pool("uncoded", TASKS)
    late = []
    for number in range(3):
        for _ in range(3 if number == 1 else 0):
            coded._answers.send(0, worker.DONE, -7, 0.0)
        late.append(coded.iterate(numbered(number)).metrics["late_results"])
    assert late == [0, 3, 0]


def test_sums_of_gradients(make_pool):
    injection = Injection(fixed=(5,), delay_s=60.0)
    coded = make_pool("fractional-repetition", 6, 6, make_tasks=Counting, injection=injection)
    for iteration in range(5):
        values = coded.iterate(numbered(iteration)).values
        np.testing.assert_array_equal(values, np.full(50, 15.0 + 6 * iteration))


class Counting:
    def compute(self, snapshot, task):
        return np.full(50, float(task + snapshot["number"][0]))


@pytest.mark.parametrize("exact", [False, True])
def test_it_chooses_among_codes_and_gives_up_on_those_that_take_long(make_pool, monkeypatch, exact):
    monkeypatch.setattr(chooser, "FLOOR_S", 2.0)  # on a busy machine nothing good takes so long
    others = [make_code(name, workers=n, tasks=TASKS) for name, n in CHEAPER]
    late = Injection(stragglers=1, delay_s=60.0)
    coded = make_pool("mds", 8, others=others, exact=exact, injection=late)
    for iteration in range(40):
        values = coded.iterate(numbered(iteration)).values
        np.testing.assert_allclose(values, expected(iteration), rtol=0, atol=1e-12)
    (kind, choice), *_ = coded.noted  # on a busy machine it may look again
    assert kind == "code" and "uncoded of 4 too long" in choice
    assert choice.startswith(("mds of 8 from now on", "replication of 8 from now on"))


def test_dead_workers_up_to_the_tolerance_are_not_waited_for_and_are_replaced(
    make_pool, monkeypatch
):
    monkeypatch.setattr(pool, "LOOK_S", 3600.0)
    crew = ThreadCrew()
    coded = make_pool(crew=crew)
    coded.iterate(SNAPSHOT)
    for index in (0, 2, 6):
        crew.newest(f"coded {index}").lose()
    outcome = coded.iterate(SNAPSHOT)
    assert not {0, 2, 6} & set(outcome.received) and outcome.metrics["iteration_s"] < 60
    coded._looked_s = -inf
    coded.iterate(SNAPSHOT)
    assert coded.replaced == 3 and [kind for kind, _ in coded.noted] == ["replaced"] * 3
    assert all(len(crew.workers[f"coded {index}"]) == 2 for index in (0, 2, 6))


def test_beyond_the_tolerance_it_waits_says_so_and_goes_on(make_pool):
    crew = ThreadCrew()
    coded = make_pool(crew=crew, exact=True)
    coded.iterate(SNAPSHOT)
    for index in range(5):
        crew.newest(f"coded {index}").lose()
    outcome = coded.iterate(numbered(1))
    np.testing.assert_array_equal(outcome.values, expected(1))
    (told,) = [message for kind, message in coded.noted if "not enough" in message]
    assert told.startswith("without coded workers 0, 1, 2, 3, 4 the results are not enough (mds")
    assert ("waiting", told) in coded.noted
    assert coded.replaced == 5


def test_it_waits_for_stragglers_beyond_the_tolerance_and_says_so(make_pool, monkeypatch):
    monkeypatch.setattr(pool, "LOOK_S", 0.05)
    monkeypatch.setattr(waiting, "TELL_AFTER_S", 0.2)
    look = waiting.Waiting.look

    def once_others_are_there(self, received, *more):
        if {4, 5, 6} <= set(received):
            look(self, received, *more)

    monkeypatch.setattr(waiting.Waiting, "look", once_others_are_there)
    coded = make_pool()
    for iteration, delay_s in enumerate((6.0, 1.0)):
        coded.injection = Injection(fixed=(0, 1, 2, 3), delay_s=delay_s)
        outcome = coded.iterate(numbered(iteration))
        np.testing.assert_allclose(outcome.values, expected(iteration), rtol=0, atol=1e-12)
        assert outcome.metrics["iteration_s"] > 0.9 * delay_s  # never garbage: all of it is paid
    ((kind, told),) = coded.noted  # once, not for every iteration
    assert kind == "waiting" and told.startswith("for some of coded workers 0, 1, 2, 3: later")


def test_who_never_answers_ends_it(make_pool, monkeypatch):
    monkeypatch.setattr(pool, "LOOK_S", 0.05)
    coded = make_pool("uncoded", 4, crew=ThreadCrew(coded=["run"] * 30))
    with pytest.raises(RuntimeError, match="in a row never answered"):
        coded.iterate(SNAPSHOT)


def test_results_that_are_no_numbers_are_refused_and_their_workers_named(make_pool):
    coded = make_pool("replication", 8)
    poisoned = {**SNAPSHOT, "poison": np.ones(1, dtype=np.int64)}
    with pytest.raises(UserError, match="the results of coded workers 0, 4 are not finite numbers"):
        coded.iterate(poisoned)
    assert [kind for kind, _ in coded.noted] == ["refused", "refused"]
    np.testing.assert_allclose(coded.iterate(numbered(1)).values, expected(1))


class Drifting:
    """Does not give the same bits twice."""

    def compute(self, snapshot, task):
        return snapshot["weights"][task] + np.random.default_rng().standard_normal(50)


def test_exact_finds_out_who_computes_something_else(make_pool):
    coded = make_pool(
        "mds", 5, make_tasks=Drifting, exact=True, injection=Injection(fixed=(0,), delay_s=60)
    )
    with pytest.raises(RuntimeError, match=r"coded worker \d has another result of task \d"):
        coded.iterate(SNAPSHOT)


def test_a_snapshot_is_like_the_template(make_pool):
    with pytest.raises(ValueError, match="weights is float32"):
        make_pool().iterate({**SNAPSHOT, "weights": SNAPSHOT["weights"].astype(np.float32)})


def test_stragglers_are_drawn_anew_and_alike():
    injection = Injection(stragglers=3, delay_s=0.5, distribution="exponential", seed=4)
    first, again, next_one = (injection.draw(i, 15) for i in (0, 0, 1))
    assert first == again != next_one and sum(delay > 0 for delay in first) == 3
    assert Injection(fixed=(1, 2), delay_s=2.0).draw(7, 4) == [0.0, 2.0, 2.0, 0.0]
    uniform = Injection(stragglers=15, delay_s=1.0, distribution="uniform")
    delays = np.concatenate([uniform.draw(i, 15) for i in range(200)])
    assert delays.max() <= 2.0 and delays.mean() == pytest.approx(1.0, abs=0.05)

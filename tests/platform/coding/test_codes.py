"""Every code, for every set of workers that is enough: what is decoded is what was computed."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

from covey.platform.coding import CODES, CodeError, NotDecodable, make_code
from covey.platform.coding.patterns import received_sets, sampled, share_decodable
from covey.platform.coding.plan import error_bound
from covey.platform.coding.task_codes import TaskCode

WORKERS = {3: 6, 8: 15, 10: 15}
SETS = 40
"""Of each number of stragglers so many sets are decoded, spread over all of them."""
SLACK = {"vandermonde": 1e-3}


def made(name, tasks, **options):
    workers = tasks if name == "uncoded" else WORKERS[tasks]
    return make_code(name, workers=workers, tasks=tasks, **options)


def results_of(tasks, shape=(4, 3)):
    return np.random.default_rng(0).standard_normal((tasks, *shape)) * 3


@pytest.mark.parametrize("tasks", [3, 8, 10])
@pytest.mark.parametrize("name", CODES)
def test_every_decodable_set_gives_the_results(name, tasks):
    code, results = made(name, tasks), results_of(tasks)
    sent = {
        worker: code.encode(worker, {task: results[task] for task in code.tasks_of(worker)})
        for worker in range(code.workers)
    }
    assert code.matrix.shape == (code.workers, tasks) and code.matrix.dtype == np.float64
    np.testing.assert_allclose(
        np.stack([sent[worker].ravel() for worker in range(code.workers)]),
        code.matrix @ results.reshape(tasks, -1),
        atol=1e-12,
    )
    limit = SLACK.get(name, 1e-11) * abs(results).max()
    for stragglers in range(code.workers - tasks + 1):
        sets = list(received_sets(code.workers, stragglers))
        for received in sets[:: -(-len(sets) // SETS)]:
            if not code.decodable(received):
                assert stragglers > code.tolerance
                with pytest.raises(NotDecodable):
                    code.decode({worker: sent[worker] for worker in received})
                continue
            found = code.decode_with_bound({worker: sent[worker] for worker in received})
            assert found.values.shape == results.shape and found.results_used <= len(received)
            off = abs(found.values - results).max()
            assert off <= min(limit, found.error_bound * abs(results).max())
    with pytest.raises(NotDecodable):
        code.decode({worker: sent[worker] for worker in range(tasks - 1)})


@pytest.mark.parametrize("name", ["mds", "mds-dense", "random-sparse"])
@pytest.mark.parametrize(("workers", "tasks"), [(15, 8), (32, 24), (64, 48), (64, 32), (64, 8)])
def test_decodes_to_eleven_digits_whoever_is_missing(name, workers, tasks):
    code, results = make_code(name, workers=workers, tasks=tasks), results_of(tasks, (20,))
    sent = {worker: code.encode(worker, dict(enumerate(results))) for worker in range(workers)}
    most = code.tolerance
    copies = np.count_nonzero(code.matrix, axis=0).min()  # all of a task's may be missing
    least = workers - tasks - 3 * (name == "random-sparse")
    assert min(least, copies - 1) <= most <= workers - tasks
    late = 0
    for stragglers in (1, most // 2, most):
        for received in sampled(workers, stragglers, workers + 20, np.random.default_rng(1)):
            if not code.decodable(received):
                late += 1
                continue
            found = code.decode({worker: sent[worker] for worker in received})
            assert abs(found - results).max() <= 1e-11 * abs(results).max()
    assert late <= (workers > 16)  # one set in hundreds waits for one result more


# P(decodable) for k stragglers among 15 workers, by enumeration.
TABLE = {
    ("mds", 8): [1, 1, 1, 1, 1, 1, 1, 1, 0],
    ("mds", 10): [1, 1, 1, 1, 1, 1, 0, 0, 0],
    ("mds-dense", 8): [1, 1, 1, 1, 1, 1, 1, 1, 0],
    ("vandermonde", 8): [1, 1, 1, 1, 1, 1, 1, 1, 0],
    ("random-sparse", 8): [1, 1, 1, 1, 1, 1, 1, 1, 0],
    ("replication", 8): [1, 0.9333, 0.8, 0.6154, 0.4103, 0.2238, 0.0895, 0.0199, 0],
    ("ldpc", 8): [1, 1, 0.9429, 0.8286, 0.6681, 0.4835, 0.2877, 0.1119, 0],
}
NONZERO = {
    "uncoded": 8,
    "replication": 15,
    "mds": 64,
    "mds-dense": 120,
    "vandermonde": 120,
    "ldpc": 28,
}


@pytest.mark.parametrize(("name", "tasks"), TABLE)
def test_the_table_of_decodability(name, tasks):
    check_table(name, tasks, (0, 1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tasks"), TABLE)
def test_the_whole_table_of_decodability(name, tasks):
    check_table(name, tasks, range(9))


def check_table(name, tasks, numbers):
    code = made(name, tasks)
    found = [share_decodable(code.decodable, received_sets(15, k)) for k in numbers]
    assert found == pytest.approx([TABLE[name, tasks][k] for k in numbers], abs=5e-5)


def test_replication_follows_its_closed_form():
    code = made("replication", 10)
    for k in range(4):
        share = share_decodable(code.decodable, received_sets(15, k))
        assert share == pytest.approx(comb(5, k) * 2**k / comb(15, k))


def test_loads_are_those_of_the_constructions():
    for name, nonzero in NONZERO.items():
        assert np.count_nonzero(made(name, 8).matrix) == nonzero, name
    assert np.count_nonzero(made("ldpc", 10).matrix) == 34


def test_what_arrived_plainly_is_copied_bit_for_bit():
    code, results = made("mds", 8), results_of(8)
    sent = {worker: code.encode(worker, dict(enumerate(results))) for worker in range(15)}
    received = [0, 2, 3, 5, 8, 9, 10, 11, 12]
    found = code.decode({worker: sent[worker] for worker in received})
    np.testing.assert_array_equal(found[[0, 2, 3, 5]], results[[0, 2, 3, 5]])


def test_a_seed_makes_the_same_code_and_another_another():
    for name in ("mds", "mds-dense", "random-sparse"):
        one, same, other = (made(name, 8, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.matrix, same.matrix)
        assert not np.array_equal(one.matrix, other.matrix)


def test_an_inaccurate_decode_waits_for_more():
    code = TaskCode("poor", np.array([[1, 0], [0, 1], [1, 1], [1, 1 + 1e-7]]))
    assert code.decodable([2, 0]) and code.decodable([3, 0]) and not code.decodable([2, 3])
    assert code.decodable([2, 3, 1]) and code.tolerance == 1


def test_the_bound_holds_for_rounding_of_the_worst_kind():
    weights, rows = np.array([[1e4, -1e4]]), np.array([[1.0, 1e-4], [1.0, 0.0]])
    for careful in (True, False):
        assert error_bound(weights, rows, np.array([[0.0, 1.0]]), careful=careful) > 1e4 * 2**-53
        assert error_bound(np.eye(2), np.eye(2), np.eye(2), careful=careful) == 0.0


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"name": "mdss"}, "there is no code 'mdss'.*nearest is mds"),
        ({"name": "mds", "workers": 6}, "6 workers are too few for 8 tasks; workers=8 or more"),
        ({"name": "mds", "stragglers": 8}, "without any 7, not 8; workers=16 can"),
        ({"name": "mds", "stragglers": 9}, "without any 7, not 9; workers=17 can"),
        ({"name": "mds", "stragglers": 15}, "without any 7, not 15; workers=23 can"),
        ({"name": "replication", "stragglers": 1}, "without any 0, not 1; workers=16 can"),
        ({"name": "ldpc", "stragglers": 2}, "without any 1, not 2; workers=16 can"),
        ({"name": "ldpc", "stragglers": 7}, "without any 1, not 7; mds with workers=15 can"),
        ({"name": "uncoded"}, "8 tasks are for 8 workers.*workers=8"),
        (
            {"name": "ldpc", "tasks": 9},
            "no shape for 15 workers and 9 tasks; 9 tasks go with 12, 16, 24, 28, 30 workers",
        ),
        ({"name": "ldpc", "workers": 17}, "8 tasks go with 15, 16, 21, 25, 32 workers$"),
        ({"name": "ldpc", "workers": 80, "tasks": 70}, "80 workers and 70 tasks; mds takes any"),
        ({"name": "ldpc", "gamma": 7}, "8 tasks, gamma=7; there is p=3, rho=5, gamma=3$"),
        ({"name": "random-sparse", "density": 0.02}, "would have nothing, or all results"),
        (
            {"name": "vandermonde", "workers": 24, "tasks": 16},
            "nothing of 16 tasks.*tasks=1[0-9] and",
        ),
        ({"name": "random-sparse", "density": 0}, "density is above 0 and at most 1"),
        ({"name": "mds", "speed": 3}, "no option 'speed'; there is stragglers"),
        ({"name": "mds", "workers": 0}, "workers is a whole number from 1 to 1024, not 0"),
        ({"name": "mds", "tasks": 2.5}, "tasks is a whole number"),
        ({"name": "mds", "stragglers": -1}, "stragglers is a whole number, 0 or more, not -1"),
    ],
)
def test_wrong_requests_say_what_would_work(asked, line):
    asked = {"workers": 15, "tasks": 8, **asked}
    with pytest.raises(CodeError, match=line):
        make_code(asked.pop("name"), **asked)


def test_wrong_results_are_refused():
    code = made("mds", 3)
    with pytest.raises(ValueError, match="workers 0 to 5, none numbered 6"):
        code.decodable([0, 6])
    with pytest.raises(ValueError, match="results of different shapes"):
        code.decode({0: np.zeros(2), 1: np.zeros(3), 2: np.zeros(2)})
    assert not code.decodable([])
    assert code.decodable([0, 1, 2, 2, 2])
    assert not any(code.decodable(pair) for pair in combinations(range(6), 2))


def test_a_single_task_and_as_many_workers_as_tasks():
    for name in ("mds", "mds-dense", "replication"):
        one = make_code(name, workers=4, tasks=1)
        assert one.tolerance == 3 and one.decodable([2])
        equal = make_code(name, workers=5, tasks=5)
        assert equal.tolerance == 0 and equal.decodable(range(5)) and not equal.decodable(range(4))


def test_who_has_twice_the_tasks_of_others_is_there_for_stragglers():
    loads = np.tril(np.ones((4, 6)), 2)[[0, 1, 2, 3, 3]]  # 3, 4, 5, 6, 6
    assert TaskCode("some", loads).heavy == {3, 4}
    assert made("mds", 8).heavy == set(range(8, 15)) and not made("replication", 8).heavy

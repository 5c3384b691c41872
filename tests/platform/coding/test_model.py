"""The discrete-event model of an iteration, against what is known in closed form."""

from itertools import combinations
from math import comb, inf

import numpy as np
import pytest

from covey.platform.coding import make_code
from covey.platform.coding.model import Computing, Costs, iteration_s
from covey.platform.coding.turns import PATIENCE


def finish_times(loads, cores, weights):
    computing, now_s, finished = Computing(cores), 0.0, [0.0] * len(loads)
    for worker, (load, weight) in enumerate(zip(loads, weights, strict=True)):
        computing.add(worker, load, weight)
    while (step_s := computing.next_s()) != inf:
        now_s += step_s
        for worker in computing.advance(step_s):
            finished[worker] = now_s
    return finished


def evenly(loads, cores):
    return finish_times(loads, cores, [1.0] * len(loads))


def test_loads_share_cores_evenly():
    assert evenly([2.0, 1.0, 3.0], cores=3) == [2.0, 1.0, 3.0]
    # Three on two cores: each gets 2/3 until the shortest is done, then a whole one.
    assert evenly([2.0, 1.0, 3.0], cores=2) == pytest.approx([2.5, 1.5, 3.5])
    assert evenly([1.0, 1.0], cores=1) == pytest.approx([2.0, 2.0])
    assert evenly([0.0, 1.0], cores=1) == pytest.approx([0.0, 1.0])


def test_or_by_their_weights_but_nobody_takes_more_than_a_core():
    # 3:1 on one core until the heavy one is done; on two cores each has its own.
    assert finish_times([3.0, 3.0], 1, [3.0, 1.0]) == pytest.approx([4.0, 6.0])
    assert finish_times([3.0, 3.0], 2, [3.0, 1.0]) == [3.0, 3.0]
    # The first takes a whole core, the others share the second one.
    assert finish_times([1.0, 1.0, 1.0], 2, [8.0, 1.0, 1.0]) == pytest.approx([1.0, 1.5, 1.5])


@pytest.mark.parametrize("cores", [1, 2, 5, 40])
def test_no_work_is_lost(cores):
    loads = np.random.default_rng(cores).random(20)
    times = np.array(evenly(loads.tolist(), cores))
    assert times.max() >= max(loads.max(), loads.sum() / cores) - 1e-12
    assert (times >= loads - 1e-12).all()
    if cores == 1:
        assert times.max() == pytest.approx(loads.sum())


def delayed(workers, late, delay_s):
    return [delay_s if worker in late else 0.0 for worker in range(workers)]


@pytest.mark.parametrize("k", [0, 1, 2, 4])
def test_on_average_it_is_the_delay_times_the_chance_of_waiting(k):
    """Replication of 8 tasks on 15 workers: P(decode) = C(7, k) 2^k / C(15, k)."""
    code, costs = make_code("replication", workers=15, tasks=8), Costs(task_s=0.1, fixed_s=0.05)
    times = [
        iteration_s(code, costs, delayed(15, late, 1.0)) for late in combinations(range(15), k)
    ]
    chance = comb(7, k) * 2**k / comb(15, k)
    assert np.mean(times) == pytest.approx(0.15 + (1 - chance) * 1.0)


def test_dense_codes_compute_more_and_wait_for_nobody():
    code, costs = make_code("mds-dense", workers=15, tasks=8), Costs(task_s=0.1)
    for k in (0, 3, 7):
        assert iteration_s(code, costs, delayed(15, range(k), 1.0)) == pytest.approx(0.8)
    assert iteration_s(code, costs, delayed(15, range(8), 1.0)) == pytest.approx(1.8)


def test_few_cores_make_redundancy_dear():
    uncoded = make_code("uncoded", workers=8, tasks=8)
    dense = make_code("mds-dense", workers=15, tasks=8)
    costs = Costs(task_s=0.1, cores=2)
    assert iteration_s(uncoded, costs, [0.0] * 8) == pytest.approx(0.4)
    assert iteration_s(dense, costs, [0.0] * 15) == pytest.approx(6.0)


def test_workers_with_more_to_do_begin_when_cores_are_free_and_one_after_another():
    code, costs = make_code("mds", workers=15, tasks=8), Costs(task_s=0.1, cores=2)
    assert code.heavy == set(range(8, 15))
    assert not make_code("mds-dense", workers=15, tasks=8).heavy
    assert iteration_s(code, costs, [0.0] * 15) == pytest.approx(0.4)  # as without redundancy
    one_late = iteration_s(code, costs, delayed(15, [0], 9.0))
    assert one_late == pytest.approx(0.4 + 0.8)  # a core for the first parity
    three_late = iteration_s(code, costs, delayed(15, range(3), 9.0))
    # They are thought to be at work until patience has run out; then the parities go in pairs.
    assert three_late == pytest.approx(0.4 * PATIENCE + 2 * 0.8)
    all_late = iteration_s(code, costs, delayed(15, range(7), 99.0))
    assert all_late == pytest.approx(0.4 * PATIENCE + 4 * 0.8)


def test_dead_workers_are_infinitely_late():
    code = make_code("mds", workers=5, tasks=3)
    assert iteration_s(code, Costs(0.1), [inf, inf, 0.0, 0.0, 0.0]) < 1
    assert iteration_s(code, Costs(0.1), [inf, inf, inf, 0.0, 0.0]) == inf

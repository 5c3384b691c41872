"""How many stragglers a code does without, found out: that it is so, and no more."""

from itertools import combinations

import numpy as np
import pytest

from covey.platform.coding import CodeError, make_code
from covey.platform.coding.ldpc import LdpcCode, assignment, shapes
from covey.platform.coding.patterns import received_sets, sampled
from covey.platform.coding.tolerance import doubtful


@pytest.mark.parametrize(
    ("workers", "tasks", "density"), [(12, 6, 0.3), (12, 6, 0.4), (12, 6, 0.5), (15, 8, 0.3)]
)
def test_sparse_codes_tolerate_what_they_say(workers, tasks, density):
    code = make_code("random-sparse", workers=workers, tasks=tasks, density=density)
    most = code.tolerance
    assert most < workers - tasks
    assert all(map(code.decodable, received_sets(workers, most)))
    assert not all(map(code.decodable, received_sets(workers, most + 1)))
    with pytest.raises(CodeError, match=rf"without any {most}, not {workers - tasks}; "):
        make_code(
            "random-sparse",
            workers=workers,
            tasks=tasks,
            density=density,
            stragglers=workers - tasks,
        )


def test_sparse_codes_leave_nothing_out_and_name_a_density_that_does_not():
    refused = 0
    for seed in range(60):
        asked = {"workers": 4, "tasks": 3, "seed": seed}
        try:
            code = make_code("random-sparse", density=0.3, **asked)
        except CodeError as error:
            refused += 1
            density = float(str(error).split("density=")[1].split()[0])
            code = make_code("random-sparse", density=density, **asked)
            assert 0.3 < density <= 1
        assert code.matrix.any(axis=0).all() and code.decodable(range(4))
    assert 0 < refused < 60


def test_vandermonde_is_refused_where_not_even_all_results_are_enough():
    with pytest.raises(CodeError, match="rounding leaves nothing of 16 tasks") as caught:
        make_code("vandermonde", workers=24, tasks=16, stragglers=8)
    fits = int(str(caught.value).split("tasks=")[1].split()[0])
    assert make_code("vandermonde", workers=24, tasks=fits).decodable(range(24))


def test_ldpc_tolerates_what_can_be_shown():
    code = make_code("ldpc", workers=40, tasks=20)
    most = code.tolerance
    late = np.array(list(combinations(range(40), most)))
    assert most == 3  # of four there are too many sets to look at
    everybody = set(range(40))
    some = late[:: len(late) // 300].tolist()
    assert all(code.decodable(sorted(everybody - set(one))) for one in some)


@pytest.mark.parametrize(("name", "workers", "tasks"), [("mds", 12, 6), ("mds-dense", 12, 6)])
def test_sets_that_are_not_doubtful_decode(name, workers, tasks):
    code = make_code(name, workers=workers, tasks=tasks)
    for accuracy in (1e-9, 1e-12, 3e-13):
        code.max_error = accuracy
        code._plans.clear()
        sets = list(received_sets(workers, workers - tasks))
        left = set(doubtful(code, sets))
        sure = [one for one in sets if one not in left]
        assert all(map(code.decodable, sure))
        assert (accuracy == 1e-9) == (len(sure) == len(sets))


def test_sampled_tolerances_hold_for_others_than_the_sample():
    code = make_code("random-sparse", workers=40, tasks=24)
    most = code.tolerance
    assert 12 <= most < 16  # 16 sometimes wait for one more
    assert all(map(code.decodable, sampled(40, most, 1500, np.random.default_rng(3))))


@pytest.mark.parametrize("name", ["mds", "mds-dense"])
def test_any_as_many_results_as_tasks_are_enough(name):
    code = make_code(name, workers=64, tasks=48, stragglers=16)
    sets = sampled(64, 16, 600, np.random.default_rng(7))
    waiting = sum(not code.decodable(one) for one in sets)
    assert waiting <= 1  # one in hundreds waits for one more


def test_a_peeled_code_of_every_shape_has_the_tolerance_it_says():
    for workers in (8, 9, 12):
        for shape, tasks in shapes(workers):
            code = LdpcCode("ldpc", assignment(shape))
            if tasks < workers:
                assert all(map(code.decodable, received_sets(workers, code.tolerance)))
                if code.tolerance < workers - tasks:
                    assert not all(map(code.decodable, received_sets(workers, code.tolerance + 1)))

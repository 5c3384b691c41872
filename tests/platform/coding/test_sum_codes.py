"""Sums of gradients from those who answer."""

import numpy as np
import pytest

from covey.platform.coding import CodeError, NotDecodable, make_code
from covey.platform.coding.patterns import received_sets, sampled


def sent_by(code, results):
    return {worker: code.encode(worker, dict(enumerate(results))) for worker in range(code.workers)}


@pytest.mark.parametrize(
    ("name", "workers", "stragglers"),
    [
        *[("fractional-repetition", 6, s) for s in (0, 1, 2, 5)],
        *[("cyclic", n, s) for n, s in ((1, 0), (6, 1), (6, 2), (15, 3), (32, 3))],
    ],
)
def test_any_n_minus_s_give_the_sum(name, workers, stragglers):
    code = make_code(name, workers=workers, tasks=workers, stragglers=stragglers)
    assert (np.count_nonzero(code.matrix, axis=1) == stragglers + 1).all()
    results = np.random.default_rng(0).standard_normal((workers, 5, 2))
    sent = sent_by(code, results)
    for received in received_sets(workers, stragglers):
        found = code.decode_with_bound({worker: sent[worker] for worker in received})
        off = abs(found.values - results.sum(axis=0)).max()
        assert found.values.shape == (5, 2) and off <= found.error_bound * abs(results).max()
        assert off <= (1e-11 if workers <= 16 else 1e-9) * abs(results).max()


def test_fractional_repetition_takes_what_groups_allow_and_is_the_same_whoever_answers():
    code = make_code("fractional-repetition", workers=6, tasks=6, stragglers=1)
    results = np.random.default_rng(0).standard_normal((6, 50))
    sent, found = sent_by(code, results), []
    for stragglers in range(4):
        for received in received_sets(6, stragglers):
            parts = {tuple(code.tasks_of(worker)) for worker in received}
            assert code.decodable(received) == (len(parts) == 3)
            if len(parts) == 3:
                found.append(code.decode({worker: sent[worker] for worker in received}))
    assert len(found) > 20 and all(np.array_equal(one, found[0]) for one in found)


def squared_error(code, received):
    """The squared distance of the coefficients decoded from one, a task."""
    plan = code.plan(received)
    return np.square(plan.weights @ code.matrix[list(plan.used)] - 1).sum() / code.tasks


@pytest.mark.parametrize("name", ["stochastic", "approximate"])
def test_the_error_is_known(name):
    code = make_code(name, workers=12, tasks=12, stragglers=3, copies=3)
    assert (np.count_nonzero(code.matrix, axis=0) == 3).all()
    assert (np.count_nonzero(code.matrix, axis=1) == 3).all()
    results = np.random.default_rng(0).standard_normal((12, 40))
    sent, largest = sent_by(code, results), abs(results).max()
    assert not code.decodable(range(8))
    for received in sampled(12, 3, 60, np.random.default_rng(1)):
        found = code.decode_with_bound({worker: sent[worker] for worker in received})
        off = abs(found.values - results.sum(axis=0)).max()
        assert off <= found.error_bound * largest
        assert (found.error_bound > 1e-3) == (squared_error(code, received) > 1e-9)


def test_least_squares_is_nearer_than_just_summing():
    errors = {}
    for name in ("stochastic", "approximate"):
        code = make_code(name, workers=24, tasks=24, stragglers=6, copies=3)
        sets = list(sampled(24, 6, 200, np.random.default_rng(0)))
        errors[name] = np.mean([squared_error(code, received) for received in sets])
    assert errors["approximate"] < 0.05 < errors["stochastic"] < 0.2


def test_the_stochastic_sum_is_unbiased():
    code = make_code("stochastic", workers=12, tasks=12, stragglers=3, copies=2)
    results = np.random.default_rng(0).standard_normal((12, 3))
    sent = sent_by(code, results)
    mean = np.mean(
        [code.decode({w: sent[w] for w in received}) for received in received_sets(12, 3)], axis=0
    )
    np.testing.assert_allclose(mean, results.sum(axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "asked", "line"),
    [
        ("fractional-repetition", {"stragglers": 3}, "possible are 0, 1, 2, 5; cyclic takes any"),
        ("fractional-repetition", {"stragglers": 9}, "for 9 stragglers; possible are 0, 1, 2, 5;"),
        ("cyclic", {"tasks": 5}, "as many tasks as workers are wanted, not 5 for 6; tasks=6"),
        ("cyclic", {"stragglers": 6}, "of 6 workers up to 5 can be stragglers, not 6"),
        ("stochastic", {"copies": 7}, "copies is a whole number from 1 to 6, not 7"),
    ],
)
def test_wrong_requests_say_what_would_work(name, asked, line):
    with pytest.raises(CodeError, match=line):
        make_code(name, **{"workers": 6, "tasks": 6, **asked})


def test_too_few_are_refused():
    code = make_code("cyclic", workers=6, tasks=6, stragglers=2)
    with pytest.raises(NotDecodable):
        code.decode({0: np.zeros(2), 1: np.zeros(2), 2: np.zeros(2)})

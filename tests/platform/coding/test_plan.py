"""What is decoded is no further off than is told with it."""

from fractions import Fraction

import numpy as np
import pytest

from covey.platform.coding import make_code
from covey.platform.coding.patterns import sampled
from covey.platform.coding.plan import MAX_ERROR, combine

CODES = {
    "mds": {"workers": 24, "tasks": 16},
    "mds-dense": {"workers": 32, "tasks": 24},
    "random-sparse": {"workers": 20, "tasks": 12},
    "vandermonde": {"workers": 15, "tasks": 8},
    "cyclic": {"workers": 32, "tasks": 32, "stragglers": 3},
    "fractional-repetition": {"workers": 32, "tasks": 32, "stragglers": 3},
}


def results_of(code, generator):
    """Normal ones, then for each worker some that all add up in what it sends [M, P]."""
    sizes = generator.uniform(1, 2, (code.workers, code.tasks))
    return np.hstack(
        [generator.standard_normal((code.tasks, 40)), (np.sign(code.matrix) * sizes).T]
    )


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("careful", [True, False])
def test_no_decode_is_further_off_than_its_bound(name, careful):
    code, generator = make_code(name, **CODES[name]), np.random.default_rng(5)
    results = results_of(code, generator)
    true = results.astype(np.longdouble)
    true = true.sum(axis=0) if code.sums else true
    for received in sampled(code.workers, code.tolerance, 120, generator):
        plan = code.make_plan(received, careful=careful)
        sent = [code.encode(worker, dict(enumerate(results))) for worker in plan.used]
        off = abs(combine(plan, sent) - true).max() / abs(results).max()
        assert off <= plan.bound


def test_care_is_taken_where_it_is_needed():
    code, generator = make_code("mds", workers=64, tasks=48), np.random.default_rng(5)
    results = generator.standard_normal((48, 30))
    sent = [code.encode(worker, dict(enumerate(results))) for worker in range(64)]
    careful = 0
    for received in sampled(64, 16, 200, generator):
        plan = code.plan(received)
        plain = code.make_plan(received, careful=False)
        if plan is None:
            assert code.make_plan(received, careful=True).bound > MAX_ERROR
            continue
        assert plan.careful == (plain.bound > MAX_ERROR)
        careful += plan.careful
        found = code.decode_with_bound({worker: sent[worker] for worker in received})
        assert found.error_bound == plan.bound <= MAX_ERROR
        assert abs(found.values - results).max() <= plan.bound * abs(results).max()
    assert 4 <= careful <= 60


def test_what_is_sent_is_rounded_once():
    code = make_code("mds-dense", workers=20, tasks=12)
    results = np.random.default_rng(0).standard_normal((12, 300))
    exact = [[Fraction(value) for value in row] for row in results]
    for worker in range(code.workers):
        weights = [Fraction(weight) for weight in code.matrix[worker]]
        true = [
            float(sum(w * value for w, value in zip(weights, column, strict=True)))
            for column in zip(*exact, strict=True)
        ]
        np.testing.assert_array_equal(code.encode(worker, dict(enumerate(results))), true)

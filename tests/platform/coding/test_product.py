"""Products that are rounded once."""

from fractions import Fraction

import numpy as np
import pytest

from covey.platform.coding.product import (
    PART,
    UNIT_ROUNDOFF,
    in_parts,
    left_over,
    left_over_error,
    product,
    product_error,
)


def exactly(weights, rows):
    """[K, P] as fractions; longer numbers are taken apart, since Fraction knows only float64."""
    ones = [[Fraction(float(w)) + Fraction(float(w - float(w))) for w in row] for row in weights]
    others = [[Fraction(x) for x in column] for column in rows.T.tolist()]
    return [[sum(w * x for w, x in zip(a, b, strict=True)) for b in others] for a in ones]


@pytest.mark.parametrize("terms", [1, 2, 8, 48, 64, 300])
def test_a_product_is_as_far_off_as_it_says_at_most(terms):
    generator = np.random.default_rng(terms)
    weights = generator.standard_normal((3, terms)) * 10.0 ** generator.uniform(-9, 9, (3, terms))
    weights = weights.astype(np.longdouble) / 3
    rows = generator.standard_normal((terms, 20)) * 10.0 ** generator.uniform(-9, 0, (terms, 20))
    rows[:, 10:] = generator.choice([-1.0, 1.0], (terms, 10))
    made = product(weights, rows)
    for own, numbers, right in zip(weights, made, exactly(weights, rows), strict=True):
        slack = product_error(terms) * float(abs(own).max()) * abs(rows).max()
        for number, true in zip(numbers.tolist(), right, strict=True):
            assert abs(Fraction(number) - true) <= slack + UNIT_ROUNDOFF * (abs(true) + slack)


def test_sums_that_nearly_vanish_keep_their_digits():
    row = np.random.default_rng(0).standard_normal(60)
    rows = np.concatenate([row, -row, [1e-12]])[:, None]
    weights = np.full((1, 121), 1 / np.longdouble(3))
    assert product(weights, rows)[0, 0] == pytest.approx(1e-12 / 3, rel=1e-8)


def test_what_an_inverse_leaves_of_the_identity():
    matrix = np.vander([0.1, 0.2, 0.3, 0.4, 0.5])
    inverse = np.linalg.inv(matrix).astype(np.longdouble)
    true = np.eye(5, dtype=int) - np.array(exactly(inverse, matrix))  # fractions
    left, error = left_over(inverse, matrix, np.eye(5)), left_over_error(inverse, matrix, np.eye(5))
    for own, right, most in zip(left.tolist(), true, error, strict=True):
        slack = Fraction(float(most))
        off = [abs(Fraction(x) - y) for x, y in zip(own, right, strict=True)]
        assert sum(off) <= slack + Fraction(UNIT_ROUNDOFF) * (sum(abs(right)) + slack)


def test_parts_are_all_of_the_rows():
    rows = [np.arange(PART + 5, dtype=np.float32), np.ones(PART + 5)]
    parts = list(in_parts(rows))
    assert len(parts) == 3 and all(block.dtype == np.float64 for _, block in parts)
    np.testing.assert_array_equal(np.hstack([block for _, block in parts]), np.stack(rows))
    assert not list(in_parts([np.empty(0)]))


def test_zeros_give_zeros():
    np.testing.assert_array_equal(product(np.zeros((2, 3), np.longdouble), np.ones((3, 4))), 0.0)
    np.testing.assert_array_equal(product(np.ones((2, 3), np.longdouble), np.zeros((3, 4))), 0.0)

"""The sum tree against plain arrays."""

import numpy as np
import pytest

from covey.algorithms.sum_tree import SumTree


def slow_draw(priorities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """The item in whose stretch of the cumulated priorities each number falls."""
    cumulated = np.cumsum(priorities)
    return np.searchsorted(cumulated, uniform * cumulated[-1], side="right")


@pytest.mark.parametrize("size", [1, 2, 3, 64, 1000])
def test_draws_what_a_search_through_all_sums_finds(size):
    generator = np.random.default_rng(size)
    tree, priorities = SumTree(size), np.zeros(size)
    for _ in range(20):
        # Whole numbers: sums in any order are exact, so both must agree on every draw.
        items = generator.integers(size, size=7)
        values = generator.integers(0, 5, size=7).astype(float)
        tree.set(items, values)
        for item, value in zip(items, values, strict=True):
            priorities[item] = value
        first = int(generator.integers(size))
        stretch = generator.integers(0, 5, size=min(5, size - first)).astype(float)
        tree.set_range(first, stretch)
        priorities[first : first + len(stretch)] = stretch
        np.testing.assert_array_equal(tree.priorities, priorities)
        assert tree.total == priorities.sum()
        if priorities.any():
            uniform = generator.random(200)
            np.testing.assert_array_equal(tree.draw(uniform), slow_draw(priorities, uniform))


def test_depends_on_the_priorities_alone_not_on_how_they_came():
    generator = np.random.default_rng(0)
    priorities = generator.random(1000)
    one, other = SumTree(1000), SumTree(1000)
    one.set_range(0, priorities)
    other.set_range(0, np.ones(1000))
    order = generator.permutation(1000)
    other.set(order, priorities[order])
    assert one.total == other.total
    uniform = generator.random(10_000)
    np.testing.assert_array_equal(one.draw(uniform), other.draw(uniform))


def test_never_draws_what_has_no_priority():
    priorities = np.zeros(1000)
    priorities[3::7] = 1e-3
    tree = SumTree(1000)
    tree.set_range(0, priorities)
    drawn = tree.draw(np.linspace(0, np.nextafter(1, 0), 10_000))
    assert (priorities[drawn] > 0).all()


def test_says_when_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="every priority is zero"):
        SumTree(4).draw(np.zeros(1))

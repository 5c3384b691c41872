"""Sums over a binary tree: drawing in proportion to priorities that change all the time.

A draw and a change take log2(size) steps each (Schaul et al. 2016, appendix B.2.1).
"""

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.compiled import compiled

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class SumTree:
    """Non-negative priorities of `size` items, all zero at first.

    The inner nodes follow from the leaves alone, never from the history of changes: a tree that
    was given the same priorities in another order draws the same items.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        # Node k has the children 2k and 2k+1, the root is node 1, the leaves come last.
        self._first = 1 << max(0, size - 1).bit_length()
        self._nodes: Floats = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        return float(self._nodes[1])

    @property
    def priorities(self) -> Floats:
        """Of all items [size]; read only."""
        leaves = self._nodes[self._first : self._first + self.size]
        leaves.flags.writeable = False
        return leaves

    def set(self, items: Indices, priorities: Floats) -> None:
        """Change some items' priorities; of an item that is there twice, the last one counts."""
        set_leaves(self._nodes, items, priorities)

    def set_range(self, first: int, priorities: Floats) -> None:
        """Change the priorities of the items from `first` on."""
        set_leaf_range(self._nodes, first, priorities)

    def draw(self, uniform: Floats) -> Indices:
        """One item for each number in [0, 1), in proportion to the priorities; never one of
        priority zero. ValueError when all are zero.
        """
        if self.total <= 0:
            raise ValueError("every priority is zero: there is nothing to draw")
        return find_leaves(self._nodes, uniform * self.total)


@compiled
def set_leaves(nodes: Floats, items: Indices, priorities: Floats) -> None:
    first = nodes.size // 2
    for i in range(items.size):
        nodes[first + items[i]] = priorities[i]
    # Level by level: the changes of one level do not wait for each other's memory.
    up = 1
    while first >> up > 0:
        for i in range(items.size):
            node = (first + items[i]) >> up
            nodes[node] = nodes[2 * node] + nodes[2 * node + 1]
        up += 1


@compiled
def set_leaf_range(nodes: Floats, start: int, priorities: Floats) -> None:
    low = nodes.size // 2 + start
    high = low + priorities.size - 1
    if high < low:
        return
    nodes[low : high + 1] = priorities
    while low > 1:
        low //= 2
        high //= 2
        for node in range(low, high + 1):
            nodes[node] = nodes[2 * node] + nodes[2 * node + 1]


@compiled
def find_leaves(nodes: Floats, masses: Floats) -> Indices:
    first = nodes.size // 2
    found = np.ones(masses.size, np.int64)
    left = masses.copy()
    level = 1
    while level < first:
        for i in range(masses.size):
            node = 2 * found[i]
            here = nodes[node]
            # Rounding may leave a mass just past all that is there: the right side is then empty.
            right = (left[i] >= here) & (nodes[node + 1] > 0.0)
            left[i] -= here * right
            found[i] = node + right
        level *= 2
    return found - first

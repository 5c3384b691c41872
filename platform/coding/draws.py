"""Random codes are drawn until one decodes well, or a few times."""

from collections.abc import Callable
from math import comb, inf
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from covey.platform.coding.code import Code
from covey.platform.coding.patterns import received_sets, sampled
from covey.platform.coding.tolerance import LISTED, smallest

Drawn = TypeVar("Drawn", bound=Code)

DRAWS = 8


def best_draw(
    draw: Callable[[Generator], Drawn],
    amplification: Callable[[Drawn, Generator], float],
    generator: Generator,
    good: float,
) -> Drawn:
    """The first of a few draws that amplifies rounding by `good` at most; else the best of them."""
    best = draw(generator)
    least = amplification(best, generator)
    for _ in range(DRAWS - 1):
        if least <= good:
            break
        made = draw(generator)
        found = amplification(made, generator)
        if found < least:
            best, least = made, found
    return best


def of_solving(code: Code, generator: Generator) -> float:
    """The largest 1 / (smallest singular value) of the rows received for sets of as many stragglers
    as an MDS code tolerates: all sets, or stragglers in a row and as many random ones. Infinite if
    a worker or a task has nothing.
    """
    if not (code.matrix.any(axis=0).all() and code.matrix.any(axis=1).all()):
        return inf
    late = code.workers - code.tasks
    if comb(code.workers, late) <= LISTED:
        sets = list(received_sets(code.workers, late, most=LISTED))
    else:
        sets = list(sampled(code.workers, late, 2 * code.workers, generator))
    return float(1 / max(smallest(code.matrix[np.array(sets)]).min(), 1e-300))

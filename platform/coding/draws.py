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

DRAWS = 24
LOOKED_AT = 3e7
"""So many products, about, judge one draw of a code for sums."""


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
    """As `of_summing`, the largest for any task, for sets of as many stragglers as an MDS code
    tolerates: all sets, or stragglers in a row and as many random ones. Infinite if a worker or a
    task has nothing.
    """
    if not (code.matrix.any(axis=0).all() and code.matrix.any(axis=1).all()):
        return inf
    late = code.workers - code.tasks
    if comb(code.workers, late) <= LISTED:
        sets = np.array(list(received_sets(code.workers, late, most=LISTED)))
    else:
        sets = np.array(list(sampled(code.workers, late, 2 * code.workers, generator)))
    try:
        weights = np.linalg.inv(code.matrix[sets])  # [S, M, M]
    except np.linalg.LinAlgError:  # the fewer sets are singular the better
        return 1e100 * float((smallest(code.matrix[sets]) < 1e-9).sum())
    return float((abs(weights) @ abs(code.matrix).sum(axis=1)[sets][:, :, None]).max())


def of_summing(code: Code) -> float:
    """The largest sum of weights, each times the numbers of its row, that any set of as many
    stragglers as are tolerated asks for: all sets, or those there is time for.
    """
    most = max(2 * code.workers, int(LOOKED_AT) // code.workers**3)
    sets = np.array(list(received_sets(code.workers, code.tolerance, most=most)))
    weights = np.linalg.pinv(code.matrix[sets]).sum(axis=1)  # [S, R]
    return float((abs(weights) * abs(code.matrix).sum(axis=1)[sets]).sum(axis=1).max())

"""Random codes are drawn until one decodes well, or a few times."""

from collections.abc import Callable
from math import comb
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from covey.platform.coding.code import Code
from covey.platform.coding.patterns import ENUMERATED, received_sets, sampled

Drawn = TypeVar("Drawn", bound=Code)

DRAWS = 8
SAMPLES = 300


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
    as an MDS code tolerates: all sets, or many.
    """
    late = code.workers - code.tasks
    if comb(code.workers, late) <= ENUMERATED:
        sets = list(received_sets(code.workers, late))
    else:
        sets = list(sampled(code.workers, late, SAMPLES, generator))
    singular = np.linalg.svd(code.matrix[np.array(sets)], compute_uv=False)
    return float(1 / max(singular[:, -1].min(), 1e-300))


def of_summing(code: Code, generator: Generator) -> float:
    """The largest weight that a received row gets, for sampled sets; infinite if one is too few."""
    sets = sampled(code.workers, code.tolerance, SAMPLES, generator)
    plans = [code.plan(received) for received in sets]
    return max(np.inf if plan is None else float(abs(plan.weights).max()) for plan in plans)

"""How many stragglers a code does without, found out by looking at who answers."""

from itertools import islice
from math import comb, inf, sqrt

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from covey.platform.coding.code import Code
from covey.platform.coding.patterns import received_sets, sampled
from covey.platform.coding.product import UNIT_ROUNDOFF, product_error
from covey.platform.seeds import derive

LISTED = 15_000
"""Up to so many sets of stragglers are looked at one by one; of more, `SAMPLES`."""
SAMPLES = 300
NEAR = 1000.0
SELDOM = 3e-5
"""Where sets are sampled, no more than this part of all random ones may need one result more."""
CHUNK = 2048


def all_decode(code: Code, stragglers: int, drawn: bool) -> bool:
    """Whether any so many workers may be missing: known for certain where the sets can be listed.
    Where they cannot, a sample tells it of coefficients that are `drawn`, and nothing of others.
    """
    if np.count_nonzero(code.matrix, axis=0).min() <= stragglers:
        return False  # all who have some task may be missing
    if comb(code.workers, stragglers) > LISTED:
        return drawn and seldom_refused(code, stragglers)
    sets = received_sets(code.workers, stragglers, most=LISTED)
    while chunk := list(islice(sets, CHUNK)):
        if not all(map(code.decodable, doubtful(code, chunk))):
            return False
    return True


def doubtful(code: Code, sets: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those sets, of one size, that might not decode accurately; all others do.

    By the smallest singular value s of the rows received: no weight vector of a plan is longer
    than 2 / s times the longest row (of a sum: 1 / s times the vector of ones), of which
    `error_bound` makes what is compared here.
    """
    rows = code.matrix[np.array(sets)]
    longest = max(1.0, float(np.linalg.norm(code.matrix, axis=1).max()))
    if code.sums:
        longest = sqrt(code.tasks)
    largest = float(abs(code.matrix).sum(axis=1).max())
    terms = code.tasks + rows.shape[1]
    unit = UNIT_ROUNDOFF + (2 + code.tasks) * product_error(terms)
    least = 4 * unit * longest * sqrt(rows.shape[1]) * largest / code.max_error
    return [sets[which] for which in np.flatnonzero(smallest(rows) < least)]


def smallest(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest singular value of each of many matrices [S, R, M]."""
    return np.linalg.svd(rows, compute_uv=False)[:, -1].astype(np.float64)


def seldom_refused(code: Code, stragglers: int) -> bool:
    """Whether stragglers in a row are done without, and random ones but for `SELDOM` of their sets.

    A square part of a random matrix is so many times nearer to a singular one in as many times
    fewer cases, and for each row more that was received the chance is a power higher (Rudelson and
    Vershynin 2009, theorem 1.1). So the sets that come within `NEAR` of being refused tell how many
    are.
    """
    seeded = Generator(PCG64(derive(0, "tolerance", code.workers, stragglers)))
    bounds = sampled_bounds(code, stragglers, seeded)
    if inf in bounds:
        return False
    random = bounds[code.workers :]
    near = sum(bound > code.max_error / NEAR for bound in random)
    more = 0 if code.sums else code.workers - stragglers - code.tasks
    return (near + 1) / (len(random) + 1) * NEAR ** -(1 + more) <= SELDOM


def sampled_bounds(code: Code, stragglers: int, generator: Generator) -> list[float]:
    """Of the error, with care, for stragglers in a row, from each worker on, then for `SAMPLES`
    random sets; up to the first that is refused, whose bound is infinite.
    """
    bounds: list[float] = []
    for received in sampled(code.workers, stragglers, SAMPLES + code.workers, generator):
        plan = code.make_plan(received, careful=True)
        bounds.append(inf if plan is None or plan.bound > code.max_error else plan.bound)
        if bounds[-1] == inf:
            break
    return bounds

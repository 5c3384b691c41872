"""How one set of results is decoded, and how far off that may be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.product import (
    UNIT_ROUNDOFF,
    Extended,
    Floats,
    gamma,
    in_parts,
    left_over,
    left_over_error,
    product,
    product_error,
)

MAX_ERROR = 1e-11
"""Decodes that may be further off than this, relative to the largest result, wait for more."""


@dataclass(frozen=True)
class Plan:
    """How to decode one set of results: `weights @ [result of each worker in used]`.

    `used` [R] are worker numbers, `weights` [K, R], K being M (sum codes: 1). `careful`: by
    `product` rather than a plain one. `bound` is at least the largest error of a decoded number,
    relative to the largest number of any task's result.
    """

    used: tuple[int, ...]
    weights: Extended
    careful: bool
    bound: float


def combine(plan: Plan, rows: Sequence[NDArray[Any]]) -> Floats:
    """`weights @ rows` [K, P]; what is a plain copy of a row is copied."""
    made = np.empty((len(plan.weights), len(rows[0])))
    copies = copied_rows(plan.weights)
    mixed = copies < 0
    for target, source in enumerate(copies.tolist()):
        if source >= 0:
            made[target] = rows[source]
    if mixed.any():
        needed = np.flatnonzero(plan.weights[mixed].any(axis=0))
        weights = plan.weights[np.ix_(mixed, needed)]
        plain = weights.astype(np.float64)
        for part, block in in_parts([rows[place] for place in needed.tolist()]):
            made[mixed, part] = product(weights, block) if plan.careful else plain @ block
    return made


def copied_rows(weights: NDArray[Any]) -> NDArray[np.intp]:
    """For each row of weights the number of the one result that it copies, or -1."""
    single = (np.count_nonzero(weights, axis=1) == 1) & (weights.sum(axis=1) == 1.0)
    return np.where(single, weights.argmax(axis=1), -1)


def error_bound(weights: Extended, rows: Floats, wanted: Floats, *, careful: bool) -> float:
    """How far `weights @ (rows @ x)` may be from `wanted @ x`, for any x of largest number 1.

    `rows @ x` are rounded as `Code.encode` does, and what is made of them as `combine` does
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, chapter 3).
    """
    if not careful:  # they are rounded before
        weights = weights.astype(np.float64).astype(np.longdouble)
    sent_off = encoding_error(rows)  # [R]
    sizes = abs(rows).sum(axis=1) + sent_off  # of what is sent [R]
    asked = abs(wanted).sum(axis=1)  # size of what is decoded [K]
    # What the workers rounded, weighed.
    carried = abs(weights) @ sent_off
    # The weights are not quite those that give what is wanted, by as much as can be computed.
    off = abs(left_over(weights, rows, wanted)).sum(axis=1) * (1 + 2 * UNIT_ROUNDOFF)
    unseen = left_over_error(weights, rows, wanted)
    # Adding up; with care that is rounded once, when it is near to what is asked.
    if careful:
        adding = product_error(len(rows)) * abs(weights).max(axis=1) * sizes.max()
        adding += UNIT_ROUNDOFF * (asked + carried + off + unseen + adding)
    else:
        adding = gamma(len(rows)) * (abs(weights) @ sizes)
    mixed = copied_rows(weights) < 0
    total = carried + off + np.where(mixed, unseen + adding, 0.0)
    return float(total.max()) * (1 + 4 * UNIT_ROUNDOFF)  # for the roundings of this very sum


def encoding_error(rows: Floats) -> Floats:
    """How far what workers with these rows [R, M] send may be off [R], for numbers up to 1."""
    most = int(np.count_nonzero(rows, axis=1).max())
    adding = product_error(most) * abs(rows).max(axis=1)
    rounded = adding + UNIT_ROUNDOFF * (abs(rows).sum(axis=1) + adding)
    return np.where(copied_rows(rows) < 0, rounded, 0.0)

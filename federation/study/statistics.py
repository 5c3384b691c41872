"""Means over seeds, their spread, and intervals of paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation, which one value has not."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and the ends of its 95 % t-interval, which one pair has
    not.
    """

    mean: float
    low: float | None
    high: float | None


def spread(values: Sequence[float]) -> Spread:
    """Of one or more values."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(mean, None)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(mean, math.sqrt(squares / (len(values) - 1)))


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Of `values` from `others`, which are paired in this order. Student's t, since seeds are
    few.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    found = spread([value - other for value, other in zip(values, others, strict=True)])
    if found.deviation is None:
        return Difference(found.mean, None, None)
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * found.deviation / math.sqrt(len(values))
    return Difference(found.mean, found.mean - half, found.mean + half)

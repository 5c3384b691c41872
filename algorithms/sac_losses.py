"""SAC's losses and their slopes by the critics' values (Haarnoja et al. 2018, second version,
equations 5 and 9). All arrays are columns [N, 1].
"""

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.compiled import compiled

Column = NDArray[np.float32]


@compiled
def soft_target(
    rewards: Column,
    discounts: Column,
    first: Column,
    second: Column,
    logp: Column,
    alpha: float,
    wanted: Column,
) -> float:
    """Write r + discount * (the smaller target's value - alpha * logp); return their sum."""
    total = 0.0
    for i in range(len(wanted)):
        soft = min(first[i, 0], second[i, 0]) - alpha * logp[i, 0]
        wanted[i, 0] = rewards[i, 0] + discounts[i, 0] * soft
        total += wanted[i, 0]
    return total


@compiled
def critic_slopes(
    values: Column, wanted: Column, weights: Column, scale: float, errors: Column, slopes: Column
) -> float:
    """Half the weighted squared error, times `scale`: write its slopes by the values, add half
    each error's size to `errors`, return its sum without `scale`.
    """
    total = 0.0
    for i in range(len(values)):
        error = values[i, 0] - wanted[i, 0]
        errors[i, 0] += 0.5 * abs(error)
        slopes[i, 0] = weights[i, 0] * error * scale
        total += 0.5 * weights[i, 0] * error * error
    return total


@compiled
def actor_slopes(first: Column, second: Column, scale: float, slopes: NDArray[np.float32]) -> float:
    """Minus the smaller critic's value, times `scale`: write its slopes [2, N, 1] by both critics'
    values; return the sum of the smaller values.
    """
    total = 0.0
    for i in range(len(first)):
        smaller = 0 if first[i, 0] <= second[i, 0] else 1
        slopes[smaller, i, 0] = -scale
        slopes[1 - smaller, i, 0] = 0.0
        total += min(first[i, 0], second[i, 0])
    return total

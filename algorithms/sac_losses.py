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
def smaller(first: Column, second: Column, rows: NDArray[np.int64]) -> tuple[int, float]:
    """Write the rows where the first critic's value is the smaller one to the beginning of rows[0],
    the others to that of rows[1]; return how many the first are, and the sum of the smaller values.
    """
    total, count = 0.0, 0
    for i in range(len(first)):
        if first[i, 0] <= second[i, 0]:
            rows[0, count] = i
            count += 1
        else:
            rows[1, i - count] = i
        total += min(first[i, 0], second[i, 0])
    return count, total

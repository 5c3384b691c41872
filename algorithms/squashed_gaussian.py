"""SAC's policy distribution: a diagonal normal squeezed into (-1, 1) by tanh (Haarnoja et al. 2018,
appendix C). Compiled, since a dozen small operations on a few numbers a row would take longer than
the products around them; `policy_squashed.py` acts with the same in numpy.

Shapes: N rows, A action dimensions; a network's head [N, 2A] holds means, then log-deviations.
"""

import math

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.compiled import compiled

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
CONSTANT = 0.5 * math.log(2 * math.pi) + 2 * math.log(2.0)
Floats = NDArray[np.float32]


@compiled
def squash(head: Floats, noise: Floats, actions: Floats, logp: Floats, spread: Floats) -> None:
    """Write actions tanh(mean + std * noise) [N, A], their log-probabilities [N], and for
    `head_slopes` std * noise [N, A]; `noise` [N, A] is standard normal. Log-deviations are clamped.
    """
    width = noise.shape[1]
    for i in range(noise.shape[0]):
        total = -CONSTANT * width
        for j in range(width):
            log_std = min(max(head[i, width + j], LOG_STD_MIN), LOG_STD_MAX)
            spread[i, j] = math.exp(log_std) * noise[i, j]
            before = head[i, j] + spread[i, j]
            # log(1 - tanh(u)^2) = 2 (log 2 - u - log(1 + exp(-2u))), finite for large u as well.
            small = math.exp(-2.0 * abs(before))
            total += 2.0 * (abs(before) + math.log1p(small)) - log_std
            total -= 0.5 * noise[i, j] * noise[i, j]
            squeezed = (1.0 - small) / (1.0 + small)
            actions[i, j] = squeezed if before >= 0 else -squeezed
        logp[i] = total


@compiled
def head_slopes(
    head: Floats,
    actions: Floats,
    spread: Floats,
    by_actions: Floats,
    by_logp: float,
    slopes: Floats,
) -> None:
    """Write the slopes of a loss by the head [N, 2A], from those by the actions [N, A] that
    `squash` drew, and the one by each row's log-probability.
    """
    width = actions.shape[1]
    for i in range(actions.shape[0]):
        for j in range(width):
            # d action / d before = 1 - tanh(before)^2; d logp / d before = 2 tanh(before).
            action, raw = actions[i, j], head[i, width + j]
            slope = by_actions[i, j] * (1.0 - action * action) + 2.0 * by_logp * action
            slopes[i, j] = slope
            inside = LOG_STD_MIN <= raw <= LOG_STD_MAX
            slopes[i, width + j] = slope * spread[i, j] - by_logp if inside else 0.0

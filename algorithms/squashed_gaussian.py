"""SAC's policy distribution: a diagonal normal squeezed into (-1, 1) by tanh (Haarnoja et al. 2018,
appendix C). Pure functions on tensors; `policy_squashed.py` acts with the same in numpy.

Shapes: N rows, A action dimensions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Squashed(NamedTuple):
    """Drawn actions [N, A] and their log-probabilities [N], and what their slopes are made of."""

    actions: Tensor
    logp: Tensor
    spread: Tensor
    inside: Tensor


def squash(head: Tensor, noise: Tensor) -> Squashed:
    """Actions tanh(mean + std * noise) for a network's head [N, 2A] (means, then log-deviations,
    which are clamped) and standard normal noise [N, A].
    """
    mean, raw = head.chunk(2, dim=1)
    log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
    spread = log_std.exp().mul_(noise)
    before = mean + spread
    # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), which stays finite for large u.
    narrowing = softplus(before * -2.0).add_(before).mul_(2.0)
    per_dimension = narrowing.sub_(log_std).addcmul_(noise, noise, value=-0.5)
    constant = noise.shape[1] * (0.5 * math.log(2 * math.pi) + 2 * math.log(2.0))
    return Squashed(before.tanh_(), per_dimension.sum(1).sub_(constant), spread, raw == log_std)


def head_slopes(drawn: Squashed, by_actions: Tensor, by_logp: float) -> Tensor:
    """Slopes of a loss by the head [N, 2A], from those by the actions [N, A] and the one by each
    row's log-probability.
    """
    actions = drawn.actions
    # d logp / d before = 2 tanh(before); d action / d before = 1 - tanh(before)^2.
    by_before = by_actions * (1.0 - actions.square())
    by_before.add_(actions, alpha=2.0 * by_logp)
    by_log_std = (by_before * drawn.spread).sub_(by_logp).mul_(drawn.inside)
    return torch.cat((by_before, by_log_std), dim=1)

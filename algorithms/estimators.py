"""Estimators of advantages and value targets as pure functions on tensors [T, B]; the dtype of the
inputs is kept.

T are steps in time order, B environments. `next_values[t]` is the value of the state that step t
led to; at the end of an episode that of its final observation, not of the next episode's first.
`terminated` (boolean) cuts the bootstrap: nothing follows. `truncated` does not: the episode was
cut short, and what would have followed is `next_values`. Both cut the recursion over time.

Results carry no gradient: they are what is learned towards.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16). All arguments and the result:
    [T, B].

    lam=0 is the one-step temporal difference, lam=1 the discounted sum of rewards minus the value.
    """
    reward, value, following = _arrays(rewards, values, next_values)
    ends, cut = _arrays(terminated, truncated)
    advantages = reward + gamma * following * ~ends - value
    factors = np.multiply(~(ends | cut), gamma * lam, dtype=reward.dtype)
    _add_what_follows(advantages, factors)
    return _tensor(advantages, rewards)


def vtrace(
    behaviour_logp: Tensor,
    target_logp: Tensor,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    lam: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """V-trace value targets `vs` and policy-gradient advantages (Espeholt et al. 2018, eq. 1 and
    section 4.2). All arguments and both results: [T, B].

    For data of an older policy (`behaviour_logp`) than the one that learns (`target_logp`). Where
    both are the same and `rho_bar`, `c_bar` >= 1, `vs` are n-step returns. A finite `rho_bar` sets
    which policy's value is learned; `c_bar` and `lam` (remark 2) only how far corrections reach
    back. Advantages have the weight min(rho_bar, target/behaviour) in them.
    """
    behaviour, target, reward, value, following = _arrays(
        behaviour_logp, target_logp, rewards, values, next_values
    )
    ends, cut = _arrays(terminated, truncated)
    ratios = np.exp(target - behaviour)
    weights = np.minimum(ratios, rho_bar)
    goes_on = ~(ends | cut)
    above = weights * (reward + gamma * following * ~ends - value)  # becomes vs - values
    _add_what_follows(above, np.minimum(ratios, c_bar) * (gamma * lam) * goes_on)
    targets = value + above
    bootstraps = following * ~ends
    bootstraps[:-1] = np.where(goes_on[:-1], targets[1:], bootstraps[:-1])
    advantages = weights * (reward + gamma * bootstraps - value)
    return _tensor(targets, rewards), _tensor(advantages, rewards)


def _add_what_follows(sums: Array, factors: Array) -> None:
    """sums[t] += factors[t] * sums[t+1] from the last row [B] to the first, in place; factors are
    used up.

    By doubling: after k rounds each row reaches 2^k rows ahead, so it takes log2(T) operations on
    all of [T, B] instead of T on a row each. A compiled loop does it in half of that time, but the
    compiler's import and start cost over a second: as much as it saves in thousands of updates.
    """
    steps, reach = len(sums), 1
    while reach < steps:
        sums[:-reach] += factors[:-reach] * sums[reach:]
        factors[:-reach] *= factors[reach:]
        reach *= 2


def _arrays(*tensors: Tensor) -> tuple[Array, ...]:
    return tuple(tensor.detach().cpu().numpy() for tensor in tensors)


def _tensor(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device)

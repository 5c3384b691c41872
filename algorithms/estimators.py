"""Estimators of advantages as pure functions on tensors [T, B]; the dtype of the inputs is kept.

T are steps in time order, B environments. `next_values[t]` is the value of the state that step t
led to; at the end of an episode that of its final observation, not of the next episode's first.
"""

from torch import Tensor


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

    `terminated` (boolean) cuts the bootstrap: nothing follows. `truncated` does not: the episode
    was cut short, and what would have followed is `next_values`. Both cut the recursion. lam=0 is
    the one-step temporal difference, lam=1 the discounted sum of rewards minus the value.
    """
    keeps_dtype = rewards.dtype
    deltas = rewards + gamma * next_values * (~terminated).to(keeps_dtype) - values
    decays = (gamma * lam) * (~(terminated | truncated)).to(keeps_dtype)
    advantages = deltas.clone()
    rows, factors = advantages.unbind(), decays.unbind()
    for t in range(len(rows) - 2, -1, -1):
        rows[t].addcmul_(factors[t], rows[t + 1])
    return advantages

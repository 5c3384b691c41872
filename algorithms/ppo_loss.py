"""PPO's loss (Schulman et al. 2017)."""

from typing import NamedTuple

from torch import Tensor

from covey.algorithms.agent import Agent, Batch


class PPOLoss(NamedTuple):
    """The terms of the loss, and how far the policy has moved; scalars, all of them means over
    transitions.
    """

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clip_fraction: Tensor


def ppo_loss(
    logp: Tensor,
    behaviour_logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    returns: Tensor,
    entropy: Tensor,
    *,
    clip: float,
    value_coef: float,
    entropy_coef: float,
) -> PPOLoss:
    """Clipped surrogate (eq. 7), squared value error and entropy bonus (eq. 9). All arguments [N].

    `kl` is the low-variance estimate E[(ratio - 1) - log ratio] of KL(behaviour || policy).
    """
    log_ratio = logp - behaviour_logp
    ratio = log_ratio.exp()
    surrogate = (ratio * advantages).minimum(ratio.clamp(1 - clip, 1 + clip) * advantages)
    policy, value = -surrogate.mean(), 0.5 * (values - returns).square().mean()
    mean_entropy = entropy.mean()
    moved = ratio.detach() - 1
    return PPOLoss(
        total=policy + value_coef * value - entropy_coef * mean_entropy,
        policy=policy.detach(),
        value=value.detach(),
        entropy=mean_entropy.detach(),
        kl=(moved - log_ratio.detach()).mean(),
        clip_fraction=(moved.abs() > clip).to(moved.dtype).mean(),
    )


def loss_of(
    agent: Agent, batch: Batch, clip: float, value_coef: float, entropy_coef: float
) -> PPOLoss:
    """Of an agent's networks on transitions."""
    logp, entropy, values = agent.network.evaluate(batch.features, batch.actions)
    return ppo_loss(
        logp,
        batch.logp,
        batch.advantages,
        values,
        batch.returns,
        entropy,
        clip=clip,
        value_coef=value_coef,
        entropy_coef=entropy_coef,
    )

"""Proximal policy optimisation (Schulman et al. 2017): configuration, loss, learner."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from numpy.random import PCG64, Generator
from pydantic import Field

from covey.algorithms.normalizer import OBSERVATION_LIMIT, RewardScaler, RunningMoments
from covey.algorithms.policy import acting_arrays
from covey.algorithms.rollout import Rollout, join
from covey.platform.jobfile.model import Count, Positive, Section
from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive, derive_int

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from torch import Tensor

Fraction = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PPOConfig(Section):
    """Settings of `algorithm: {name: ppo}`."""

    name: Literal["ppo"]
    learning_rate: Positive = Field(default=3e-4, description="Adam's step size")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="linear: learning_rate and clip fall to 0 at stop.env_steps"
    )
    rollout_steps: Count = Field(
        default=256, description="steps of each environment between two updates"
    )
    minibatch_size: Count = Field(default=256, description="transitions in one gradient step")
    epochs: Count = Field(default=10, description="passes over the transitions of one update")
    gamma: Fraction = Field(default=0.99, description="discount of later rewards, per step")
    gae_lambda: Fraction = Field(
        default=0.95, description="0 trusts the value function, 1 the returns"
    )
    clip: Positive = Field(default=0.2, description="how far the probability ratio may leave 1")
    entropy_coef: Coefficient = Field(
        default=0.0, description="weight of the policy's entropy in the loss"
    )
    value_coef: Coefficient = Field(default=0.5, description="weight of the value loss")
    max_grad_norm: Positive = Field(
        default=0.5, description="longer gradients are shortened to this"
    )
    target_kl: Positive | None = Field(
        default=None,
        description="an update ends early once the policy has moved 1.5 times this far",
    )
    normalize_observations: bool = Field(
        default=True, description="to mean 0, variance 1 of all seen"
    )
    normalize_returns: bool = Field(
        default=False, description="scale rewards by the return's deviation"
    )
    normalize_advantages: bool = Field(
        default=True, description="to mean 0, variance 1 a minibatch"
    )
    hidden: tuple[Count, ...] = Field(default=(64, 64), description="widths of the hidden layers")
    activation: Literal["tanh", "relu"] = "tanh"
    share_torso: bool = Field(
        default=False, description="one set of hidden layers for policy and value"
    )
    threads: Count | None = Field(default=None, description="of the learner; by default one a CPU")

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> PPOLearner:
        """The learner of a job, or of an actor of it."""
        return PPOLearner(self, spaces, root_seed, threads)


class PPOLoss(NamedTuple):
    """The terms of the loss, and how far the policy has moved; scalars."""

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


@dataclass(frozen=True)
class LearnerState:
    """All that later updates depend on; one safetensors file each, and plain JSON."""

    model: Arrays
    optimizer: Arrays
    normalizer: Arrays
    record: Record


class Batch(NamedTuple):
    """What gradient steps are taken on; N transitions along the first axis."""

    features: Tensor
    actions: Tensor
    logp: Tensor
    advantages: Tensor
    returns: Tensor


class PPOLearner:
    """Owns networks, optimiser and normalisers. The same class inline or as a Ray actor."""

    def __init__(self, config: PPOConfig, spaces: Spaces, root_seed: int, threads: int) -> None:
        import torch

        from covey.algorithms.adam import Adam
        from covey.algorithms.networks import ActorCritic, flatten_parameters

        self._config = config
        self._spaces = spaces
        self._threads = config.threads or threads
        torch.set_num_threads(self._threads)
        self._network = ActorCritic(
            spaces,
            config.hidden,
            config.activation,
            config.share_torso,
            torch.Generator().manual_seed(derive_int(root_seed, "network")),
        )
        self._parameters = flatten_parameters(self._network)
        self._optimizer = Adam(self._parameters)
        self._generator = Generator(PCG64(derive(root_seed, "minibatches")))
        self._observed = RunningMoments(spaces.observation.width)
        self._rewards = RewardScaler(config.gamma)
        self._version = 0
        self._updates = 0

    def weights(self) -> Weights:
        """A copy of what acting needs, under the current version."""
        observed = self._observed if self._config.normalize_observations else None
        return Weights(self._version, acting_arrays(self._model(), observed))

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        """One PPO update; `progress` in [0, 1] is how much of the training is over. Returns
        metrics.
        """
        import torch

        began = perf_counter()
        torch.set_num_threads(self._threads)  # inline, others of this process set their own
        rollout = join(fragments, self._spaces.observation)
        batch, explained = self._prepare(rollout)
        left = 1.0 - min(progress, 1.0) if self._config.schedule == "linear" else 1.0
        losses = self._descend(batch, self._config.learning_rate * left, self._config.clip * left)
        if self._config.normalize_observations:
            # Only now: until here, this rollout was seen as the samplers saw it.
            self._observed.update(rollout.features[: rollout.rewards.size])
        self._version += 1
        self._updates += len(losses)
        means = torch.stack([torch.stack(loss[1:]) for loss in losses]).mean(dim=0).tolist()
        elapsed = perf_counter() - began
        return {
            "policy_loss": means[0],
            "value_loss": means[1],
            "entropy": means[2],
            "kl": means[3],
            "clip_fraction": means[4],
            "explained_variance": explained,
            "learning_rate": self._config.learning_rate * left,
            "updates": float(self._updates),
            "update_s": elapsed,
            "update_hz": len(losses) / elapsed,
            "update_frame_hz": len(losses)
            * min(self._config.minibatch_size, rollout.rewards.size)
            / elapsed,
        }

    def _prepare(self, rollout: Rollout) -> tuple[Batch, float]:
        """Advantages and returns, flat; and how much of the returns' variance is explained."""
        import torch

        from covey.algorithms.estimators import gae

        config, size = self._config, rollout.rewards.size
        features = rollout.features
        if config.normalize_observations:
            mean, scale = self._observed.mean, self._observed.scale
            features = (features - mean.astype(np.float32)) * scale.astype(np.float32)
            features = features.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        inputs = torch.from_numpy(features)
        with torch.no_grad():
            all_values = self._network.value(inputs)
        values = all_values[:size].view(rollout.rewards.shape)
        rewards = rollout.rewards
        if config.normalize_returns:
            rewards = self._rewards.scale(rewards, rollout.terminated | rollout.truncated)
        advantages = gae(
            torch.from_numpy(rewards),
            values,
            torch.from_numpy(rollout.next_values(all_values.numpy())),
            torch.from_numpy(rollout.terminated),
            torch.from_numpy(rollout.truncated),
            config.gamma,
            config.gae_lambda,
        )
        returns = advantages + values
        variance = float(returns.var())
        explained = 1.0 - float(advantages.var()) / variance if variance > 0 else 0.0
        actions = torch.from_numpy(rollout.actions).flatten(0, 1)
        logp = torch.from_numpy(rollout.logp).flatten()
        return Batch(
            inputs[:size], actions, logp, advantages.flatten(), returns.flatten()
        ), explained

    def _descend(self, batch: Batch, learning_rate: float, clip: float) -> list[PPOLoss]:
        """Epochs of gradient steps over shuffled minibatches; the losses of each step."""
        import torch

        config, size = self._config, len(batch.logp)
        losses: list[PPOLoss] = []
        for _ in range(config.epochs):
            order = torch.from_numpy(self._generator.permutation(size))
            shuffled = Batch(*(part[order] for part in batch))
            for first in range(0, size, config.minibatch_size):
                minibatch = Batch(
                    *(part[first : first + config.minibatch_size] for part in shuffled)
                )
                losses.append(self._step(minibatch, learning_rate, clip))
                if config.target_kl and losses[-1].kl > 1.5 * config.target_kl:
                    return losses
        return losses

    def _step(self, batch: Batch, learning_rate: float, clip: float) -> PPOLoss:
        """One gradient step."""
        config, advantages = self._config, batch.advantages
        if config.normalize_advantages and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        logp, entropy, values = self._network.evaluate(batch.features, batch.actions)
        loss = ppo_loss(
            logp,
            batch.logp,
            advantages,
            values,
            batch.returns,
            entropy,
            clip=clip,
            value_coef=config.value_coef,
            entropy_coef=config.entropy_coef,
        )
        gradient = self._parameters.grad
        assert gradient is not None
        gradient.zero_()
        loss.total.backward()  # type: ignore[no-untyped-call]
        gradient.mul_((config.max_grad_norm / (gradient.norm() + 1e-6)).clamp(max=1.0))
        self._optimizer.step(gradient, learning_rate)
        return loss._replace(total=loss.total.detach())

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        return LearnerState(
            model=self._model(),
            optimizer=self._optimizer.state(),
            normalizer={**self._observed.state("observations"), **self._rewards.state()},
            record={
                "version": self._version,
                "updates": self._updates,
                "generator": self._generator.bit_generator.state,
            },
        )

    def _model(self) -> Arrays:
        return {name: tensor.numpy().copy() for name, tensor in self._network.state_dict().items()}

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        import torch

        self._network.load_state_dict({k: torch.from_numpy(v) for k, v in state.model.items()})
        self._optimizer.restore(state.optimizer)
        self._observed.restore("observations", state.normalizer)
        self._rewards.restore(state.normalizer)
        self._version = state.record["version"]
        self._updates = state.record["updates"]
        self._generator.bit_generator.state = state.record["generator"]

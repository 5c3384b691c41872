"""What an on-policy learner owns, and how it is saved: networks, optimiser, normalisers.

The learners beside this (`ppo_learner.py`) say what the gradient is; this says what it is taken of.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.adam import Adam
from covey.algorithms.learner_group import Group
from covey.algorithms.networks import Activation, ActorCritic, flatten_parameters
from covey.algorithms.normalizer import OBSERVATION_LIMIT, RewardScaler, RunningMoments
from covey.algorithms.policy import acting_arrays
from covey.algorithms.rollout import Rollout
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive_int

VALUE_ROWS = 2048


class AgentConfig(Protocol):
    """The settings of an algorithm that shape its agent."""

    gamma: float
    normalize_observations: bool
    normalize_returns: bool
    hidden: tuple[int, ...]
    activation: Activation
    share_torso: bool


class Optimizer(Protocol):
    """Moves the parameters that it was made for along their gradient."""

    def step(self, gradient: Tensor, learning_rate: float) -> None: ...

    def state(self) -> Arrays:
        """Copies of what later steps depend on."""

    def restore(self, arrays: Arrays) -> None:
        """Go on exactly from `state`."""


class Batch(NamedTuple):
    """What gradient steps are taken on; N transitions along the first axis."""

    features: Tensor
    actions: Tensor
    logp: Tensor
    advantages: Tensor
    returns: Tensor


class Judged(NamedTuple):
    """A rollout of T steps of B columns as the newest networks see it: inputs [(T+1) * B, ...],
    rewards [T, B] as they are learnt from, values [T+1, B].
    """

    rollout: Rollout
    inputs: Tensor
    rewards: Tensor
    values: Tensor


Targets = Callable[[Judged], tuple[Tensor, Tensor, Tensor]]
"""Log-probabilities that ratios are taken to, advantages, and what values learn towards: [T, B]."""


def empty_batch(spaces: Spaces, size: int) -> Batch:
    """Room for so many transitions."""
    seen = spaces.observation
    features = seen.encode(np.zeros((size, *seen.shape), seen.dtype))
    actions = torch.from_numpy(spaces.action.empty(size))
    return Batch(torch.from_numpy(features), actions, *torch.zeros(3, size))


class Agent:
    """Networks, optimiser, normalisers. All parameters are one vector, and so is the gradient."""

    def __init__(
        self,
        config: AgentConfig,
        spaces: Spaces,
        root_seed: int,
        optimizer: Callable[[Tensor], Optimizer] = Adam,
    ) -> None:
        self._config = config
        self._normalizes = config.normalize_observations and not spaces.observation.is_image
        self.network = ActorCritic(
            spaces,
            config.hidden,
            config.activation,
            config.share_torso,
            torch.Generator().manual_seed(derive_int(root_seed, "network")),
        )
        self._parameters = flatten_parameters(self.network)
        self._optimizer = optimizer(self._parameters)
        self._observed = RunningMoments(spaces.observation.width if self._normalizes else 0)
        self._rewards = RewardScaler(config.gamma)

    def acting_arrays(self) -> Arrays:
        """Copies of what acting needs."""
        observed = self._observed if self._normalizes else None
        return acting_arrays(self.model(), observed)

    def prepare(self, rollout: Rollout, targets: Targets) -> tuple[Batch, float]:
        """All transitions, flat, with their `targets`; and how much of the returns' variance is
        explained.
        """
        inputs, rewards = self.take_in(rollout)
        with torch.no_grad():
            values = self._values(inputs).view(-1, *rewards.shape[1:])
        logp, *wanted = targets(Judged(rollout, inputs, rewards, values))
        actions = torch.from_numpy(rollout.actions).flatten(0, 1)
        parts = inputs[: len(actions)], actions, *(part.flatten() for part in (logp, *wanted))
        batch = Batch(*transitions(rollout, *parts))
        return batch, explained_variance(batch.advantages, batch.returns)

    def take_in(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """What networks take of it [(T+1) * B, ...], and its rewards as they are learnt from.

        The observation normaliser takes the rollout in only after it was used: here, the rollout is
        seen as those who acted saw it.
        """
        inputs = torch.from_numpy(self._normalized(rollout.features))
        if self._normalizes:
            self._observed.update(rollout.features[np.flatnonzero(rollout.valid)])
        rewards = rollout.rewards
        if self._config.normalize_returns:
            ended = rollout.terminated | rollout.cut
            rewards = self._rewards.scale(rewards, ended, rollout.valid)
        return inputs, torch.from_numpy(rewards)

    def logp(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """Of actions [N], as the newest policy would take them; in pieces, as the values are."""
        starts = range(0, len(actions), VALUE_ROWS)
        with torch.no_grad():
            parts = [
                self.network.evaluate(inputs[k : k + VALUE_ROWS], actions[k : k + VALUE_ROWS])[0]
                for k in starts
            ]
        return torch.cat(parts)

    def _values(self, inputs: Tensor) -> Tensor:
        """In pieces: all activations of many images at once would not fit into memory."""
        starts = range(0, len(inputs), VALUE_ROWS)
        return torch.cat([self.network.value(inputs[k : k + VALUE_ROWS]) for k in starts])

    def _normalized(self, features: NDArray[Any]) -> NDArray[Any]:
        if not self._normalizes:
            return features
        mean = self._observed.mean.astype(np.float32)
        scaled = (features - mean) * self._observed.scale.astype(np.float32)
        return scaled.clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)

    @property
    def parameters(self) -> Tensor:
        """All of them, in one vector: the networks' own."""
        return self._parameters.data

    def gradient(self, loss: Tensor) -> Tensor:
        """Of a loss; the next one takes its place."""
        gradient = self._parameters.grad
        assert gradient is not None
        gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        return gradient

    def follow(self, gradient: Tensor, learning_rate: float, max_norm: float) -> None:
        """One step of the optimiser; a gradient longer than `max_norm` is shortened to it."""
        gradient.mul_((max_norm / (gradient.norm() + 1e-6)).clamp(max=1.0))
        self._optimizer.step(gradient, learning_rate)

    def agree(self, group: Group) -> None:
        """Take over the networks and the optimiser of a group's first learner."""
        optimizer = self.optimizer()
        group.share(self.parameters, *map(torch.from_numpy, optimizer.values()))
        self._optimizer.restore(optimizer)

    def model(self) -> Arrays:
        """Copies of the networks' weights."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()}

    def optimizer(self) -> Arrays:
        """Copies of the optimiser's state."""
        return self._optimizer.state()

    def normalizer(self) -> Arrays:
        """The normalisers' state."""
        return {**self._observed.state("observations"), **self._rewards.state()}

    def restore(self, model: Arrays, optimizer: Arrays, normalizer: Arrays) -> None:
        """Go on exactly from what `model`, `optimizer` and `normalizer` gave."""
        self.network.load_state_dict({k: torch.from_numpy(v) for k, v in model.items()})
        self._optimizer.restore(optimizer)
        self._observed.restore("observations", normalizer)
        self._rewards.restore(normalizer)


def transitions(rollout: Rollout, *parts: Tensor) -> tuple[Tensor, ...]:
    """Of parts with a row [T * B, ...] for each step of a rollout, those from which to learn."""
    chosen = np.flatnonzero(rollout.valid)
    if len(chosen) == rollout.valid.size:
        return parts
    picked = torch.from_numpy(chosen)
    return tuple(part[picked] for part in parts)


def explained_variance(advantages: Tensor, returns: Tensor) -> float:
    """1 where the values foresaw the returns, 0 where they did no better than a constant."""
    variance = float(returns.var(correction=0))
    return 1.0 - float(advantages.var(correction=0)) / variance if variance > 0 else 0.0

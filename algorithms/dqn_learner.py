"""Deep Q-learning's learner.

Shapes: N rows of a minibatch, A actions.
"""

from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.dqn import DeepQConfig
from covey.algorithms.encoded_batch import EncodedBatch, room_for
from covey.algorithms.fused_adam import FusedAdam
from covey.algorithms.learner import LearnerState
from covey.algorithms.learner_group import Alone, Group
from covey.algorithms.means import Means
from covey.algorithms.q_image import ImageQNetwork
from covey.algorithms.q_mlp import MlpQNetwork, QNetwork
from covey.algorithms.replay import Replay
from covey.algorithms.replay_memory import Memory
from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive, derive_int


class DQNLearner:
    """See `ReplayLearner`. The same class inline or as a Ray actor."""

    def __init__(self, config: DeepQConfig, spaces: Spaces, root_seed: int, threads: int) -> None:
        if spaces.action.kind != "discrete":
            raise UserError(f"{config.name} needs actions to choose from, not numbers")
        self.memory = Memory(config, root_seed)
        self._config = config
        # A perceptron's products are too small for more than one thread to gain by.
        self._threads = (config.threads or threads) if spaces.observation.is_image else 1
        torch.set_num_threads(self._threads)
        self._spaces = spaces
        self._network = network(config, spaces, root_seed)
        self._optimizer = FusedAdam(self._network.parameters.numpy())
        self._group: Group = Alone()
        self._take_room()
        self._epsilon = config.exploration(0)
        self._means = Means()
        self.updates = 0

    def join(self, group: Group) -> None:
        """See `SharingLearner`."""
        self._group = group
        self._take_room()
        updates = torch.tensor([self.updates])
        group.share(self._network.parameters, self._network.target, updates)
        self.updates = int(updates)
        self._optimizer.agree(group)

    def _take_room(self) -> None:
        """For minibatches, and for this learner's rows of them."""
        size, spaces, group = self._config.batch_size, self._spaces, self._group
        actions = {"actions": np.zeros((size, 1), np.int64)}
        room = group.common(room_for(spaces.observation, size) | actions)
        self._errors = room["errors"]
        self._sampled = encoded_batch(spaces, room)
        self._batch = self._sampled.batch
        own = group.rows(size)
        count = own.stop - own.start
        self._network.take(count)
        self._inputs, self._next_inputs = inputs_of(spaces, room["rows"][:, own])
        self._actions = torch.from_numpy(room["actions"])[own]
        self._rewards, self._discounts, self._weights = (
            numbers[own, None] for numbers in torch.from_numpy(room["numbers"])
        )
        self._own_errors = torch.from_numpy(self._errors)[own, None]
        self._slopes = torch.zeros(count, spaces.action.choices)

    def weights(self) -> Weights:
        """A copy of what acting needs; its version is the number of gradient steps."""
        arrays = self._network.arrays()
        acting = {name: array for name, array in arrays.items() if name.startswith("q.")}
        return Weights(self.updates, acting | self._exploration())

    def _exploration(self) -> Arrays:
        return {"epsilon": np.array([self._epsilon], np.float32)}

    def set_progress(self, env_steps: int, total: int | None) -> None:
        """What the share of random actions and the importance weights' exponent follow."""
        self._epsilon = self._config.exploration(env_steps)
        if total:
            self.memory.set_progress(env_steps / total)

    def update(self, replay: Replay) -> None:
        """One gradient step."""
        began = perf_counter()
        torch.set_num_threads(self._threads)  # inline, others of this process set their own
        replay.sample(self._batch)
        self._sampled.encode()
        self._group.tell()
        value = self._step()
        replay.reprioritize(self._batch, self._errors)
        self._means.add(perf_counter() - began, td_error=float(self._errors.mean()), value=value)

    def take_part(self) -> None:
        """See `SharingLearner`."""
        self._group.hear()
        torch.set_num_threads(self._threads)
        self._step()

    def _step(self) -> float:
        """On the networks; the mean of what the values should have been."""
        config, size = self._config, self._config.batch_size
        wanted = self._wanted()
        values = self._network.values(self._inputs)
        errors = values.gather(1, self._actions).sub_(wanted)
        # The slope of Huber's loss: that of the squared error up to 1, constant beyond.
        slopes = errors.clamp(-1, 1).mul_(self._weights).div_(size)
        self._network.backward(self._slopes.zero_().scatter_(1, self._actions, slopes))
        torch.abs(errors, out=self._own_errors)
        value = wanted.mean().mul_(len(wanted) / size)
        self._group.sum(self._network.gradient, value)
        length = float(self._network.gradient.norm())
        self._optimizer.step(
            self._network.gradient.numpy(),
            config.learning_rate,
            scale=min(1.0, config.max_grad_norm / (length + 1e-6)),
        )
        self.updates += 1
        if self.updates % config.target_every == 0:
            self._network.target.copy_(self._network.parameters)
        return float(value)

    @torch.no_grad()
    def _wanted(self) -> Tensor:
        """r + discount * the target's value of the next action, [N, 1]."""
        rated = self._network.target_values(self._next_inputs)
        if self._config.double:
            chosen = self._network.values(self._next_inputs).argmax(1, keepdim=True)
            value = rated.gather(1, chosen)
        else:
            value = rated.amax(1, keepdim=True)
        return torch.addcmul(self._rewards, self._discounts, value)

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call."""
        return self._means.take() | {"updates": float(self.updates), "epsilon": self._epsilon}

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""
        record, arrays = self.memory.state()
        return LearnerState(
            self._network.arrays() | self._exploration(),
            self._optimizer.state() | arrays,
            {},
            {
                "version": self.updates,
                "updates": self.updates,
                "epsilon": self._epsilon,
                "replay": record,
            },
        )

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""
        self._network.load(state.model)
        self._optimizer.restore(state.optimizer)
        self._epsilon = state.record["epsilon"]
        self.updates = state.record["updates"]
        self.memory.restore(state.record["replay"], state.optimizer)


def encoded_batch(spaces: Spaces, room: Arrays) -> EncodedBatch:
    """What a replay fills, in a minibatch's memory."""
    seen = spaces.observation
    before, after = room["rows"][:, :, : seen.width]
    return EncodedBatch(seen, before, room["actions"], after, room["numbers"])


def inputs_of(spaces: Spaces, rows: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Of some rows of that memory, the networks' inputs before and after the step."""
    seen = spaces.observation
    if seen.is_image:
        before, after = torch.from_numpy(rows).view(*rows.shape[:2], *seen.shape)
    else:
        before, after = torch.from_numpy(rows)[:, :, : seen.width + 1]
    return before, after


def network(config: DeepQConfig, spaces: Spaces, root_seed: int) -> QNetwork:
    """Fresh networks for these spaces."""
    if spaces.observation.is_image:
        return ImageQNetwork(
            spaces,
            config.hidden,
            config.activation,
            config.dueling,
            torch.Generator().manual_seed(derive_int(root_seed, "network")),
        )
    return MlpQNetwork(
        config.batch_size,
        spaces.observation.width,
        spaces.action.choices,
        config.hidden,
        config.activation,
        config.dueling,
        Generator(PCG64(derive(root_seed, "network"))),
    )

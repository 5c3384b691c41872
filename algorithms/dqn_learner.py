"""Deep Q-learning's learner.

Shapes: N rows of a minibatch, A actions.
"""

from time import perf_counter

import numpy as np
import torch
from numpy.random import PCG64, Generator
from torch import Tensor

from covey.algorithms.dqn import DeepQConfig
from covey.algorithms.encoded_batch import EncodedBatch
from covey.algorithms.flat_mlp import with_ones
from covey.algorithms.fused_adam import FusedAdam
from covey.algorithms.learner import LearnerState
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
        self._sampled, self._inputs, self._next_inputs = room(spaces, config.batch_size)
        self._batch = batch = self._sampled.batch
        self._network = network(config, spaces, root_seed)
        self._optimizer = FusedAdam(self._network.parameters.numpy())
        self._actions = torch.from_numpy(batch.actions)
        self._rewards, self._discounts, self._weights = (
            torch.from_numpy(array).unsqueeze(1)
            for array in (batch.rewards, batch.discounts, batch.weights)
        )
        self._slopes = torch.zeros(config.batch_size, spaces.action.choices)
        self._epsilon = config.exploration(0)
        self._means = Means()
        self.updates = 0

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
        began, config = perf_counter(), self._config
        torch.set_num_threads(self._threads)  # inline, others of this process set their own
        replay.sample(self._batch)
        self._sampled.encode()
        wanted = self._wanted()
        values = self._network.values(self._inputs)
        errors = values.gather(1, self._actions).sub_(wanted)
        # The slope of Huber's loss: that of the squared error up to 1, constant beyond.
        slopes = errors.clamp(-1, 1).mul_(self._weights).div_(config.batch_size)
        self._network.backward(self._slopes.zero_().scatter_(1, self._actions, slopes))
        length = float(self._network.gradient.norm())
        self._optimizer.step(
            self._network.gradient.numpy(),
            config.learning_rate,
            scale=min(1.0, config.max_grad_norm / (length + 1e-6)),
        )
        sizes = errors.abs_()
        replay.reprioritize(self._batch, sizes[:, 0].numpy())
        self.updates += 1
        if self.updates % config.target_every == 0:
            self._network.target.copy_(self._network.parameters)
        self._means.add(
            perf_counter() - began, td_error=float(sizes.mean()), value=float(wanted.mean())
        )

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


def room(spaces: Spaces, size: int) -> tuple[EncodedBatch, Tensor, Tensor]:
    """A minibatch's memory, and the networks' inputs in it before and after the step."""
    seen, actions = spaces.observation, np.zeros((size, 1), np.int64)
    if seen.is_image:
        before, after = (np.zeros((size, seen.width), np.uint8) for _ in range(2))
        images = [torch.from_numpy(array).view(size, *seen.shape) for array in (before, after)]
        return EncodedBatch(seen, before, actions, after), images[0], images[1]
    inputs, following = (with_ones(size, seen.width) for _ in range(2))
    encoded = [padded[:, :-1].numpy() for padded in (inputs, following)]
    return EncodedBatch(seen, encoded[0], actions, encoded[1]), inputs, following


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

"""The acting form of a policy on images: torch's convolutions, on one thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.networks import Activation, ActorCritic
from covey.algorithms.policy import sample_categorical, sample_gaussian
from covey.platform.runtime.spaces import Spaces


class ImagePolicy:
    """See `ActingPolicy`. Holds the actor's half of the networks that a learner trains."""

    def __init__(self, spaces: Spaces, hidden: Sequence[int], activation: Activation) -> None:
        generator = torch.Generator().manual_seed(0)  # what it draws is overwritten by `load`
        self._network = ActorCritic(spaces, hidden, activation, True, generator)
        self._discrete = spaces.action.kind == "discrete"
        self._log_std = np.empty(0, dtype=np.float32)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over weights under the names of `networks.ActorCritic`."""
        torch.set_num_threads(1)  # inline, the learner of this process sets its own
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._network.load_state_dict(tensors, strict=False)
        self._log_std = arrays.get("log_std", self._log_std)

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        head = self._head(observations)
        if self._discrete:
            return sample_categorical(head, generator)
        return sample_gaussian(head, self._log_std, generator)

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        head = self._head(observations)
        chosen: NDArray[Any] = head.argmax(axis=1) if self._discrete else head
        return chosen

    @torch.inference_mode()
    def _head(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        network = self._network
        head: NDArray[np.float32] = network.actor(
            network.torso(torch.from_numpy(observations))
        ).numpy()
        return head

"""The acting form of a policy without a deviation of its own: MADDPG's actors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.perceptron import Perceptron
from covey.algorithms.policy import sample_categorical
from covey.algorithms.policy_squashed import action_scale
from covey.platform.runtime.spaces import Spaces


class ActorPolicy:
    """See `ActingPolicy`. Discrete actions are drawn from the head's softmax; continuous ones are
    its tanh, stretched to the bounds, with normal noise of deviation `noise` (of half the range).
    """

    def __init__(self, spaces: Spaces, noise: float) -> None:
        self._seen, self._discrete = spaces.observation, spaces.action.kind == "discrete"
        self._noise = np.float32(noise)
        self._net = Perceptron("actor", "relu")
        if not self._discrete:
            self._center, self._half = action_scale(spaces.action, "maddpg")

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the weights `actor.*`."""
        self._net.load(arrays)

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        head = self._net(self._seen.encode(observations))
        if self._discrete:
            return sample_categorical(head, generator)
        noise = generator.standard_normal(head.shape, dtype=np.float32)
        logp = -0.5 * np.square(noise).sum(axis=1)
        inside = np.clip(np.tanh(head) + self._noise * noise, -1, 1)
        return self._center + self._half * inside, logp

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        head = self._net(self._seen.encode(observations))
        if self._discrete:
            chosen: NDArray[Any] = head.argmax(axis=1)
            return chosen
        stretched: NDArray[Any] = self._center + self._half * np.tanh(head)
        return stretched

"""DQN's policy in the form that acts: the action of the highest value, or now and then any one."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.perceptron import Perceptron
from covey.platform.runtime.spaces import Spaces

Floats = NDArray[np.float32]


class Values(Protocol):
    """Action values, or the head of a dueling network, for encoded observations."""

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over published weights."""

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """[B, A], or [B, 1 + A] with the state's value in front."""


class GreedyPolicy:
    """See `ActingPolicy`. A random action is taken with the probability that comes with the
    weights, as `epsilon`.
    """

    def __init__(self, spaces: Spaces, values: Values) -> None:
        self._seen, self._choices = spaces.observation, spaces.action.choices
        self._values = values
        self._epsilon = np.float32(1.0)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the weights `q.*` and `epsilon`."""
        self._values.load(arrays)
        self._epsilon = np.float32(arrays["epsilon"][0])

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        best = self.best(observations)
        count = len(best)
        any_one = generator.integers(self._choices, size=count)
        explores = generator.random(count, dtype=np.float32) < self._epsilon
        actions = np.where(explores, any_one, best)
        each = self._epsilon / self._choices
        chances = np.where(actions == best, 1 - self._epsilon + each, each)
        return actions, np.log(chances, dtype=np.float32)

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        values = self._values(self._seen.encode(observations))
        # What a dueling head adds to all advantages alike does not change which one is highest.
        best: NDArray[Any] = values[:, -self._choices :].argmax(axis=1)
        return best


def perceptron_policy(spaces: Spaces, activation: str) -> GreedyPolicy:
    """The one for observations that are not images."""
    return GreedyPolicy(spaces, Perceptron("q", activation))

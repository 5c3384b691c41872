"""DQN's policy in the form that acts: the action of the highest value, or now and then any one."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

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
    weights, as `epsilon`; in column b with epsilon**exponents[b], where there are exponents.
    """

    def __init__(
        self, spaces: Spaces, values: Values, exponents: NDArray[np.float64] | None = None
    ) -> None:
        self._seen, self._choices = spaces.observation, spaces.action.choices
        self._values = values
        self._exponents = np.ones(1) if exponents is None else exponents
        self._load_epsilon(1.0)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the weights `q.*` and `epsilon`."""
        self._values.load(arrays)
        self._load_epsilon(float(arrays["epsilon"][0]))

    def _load_epsilon(self, epsilon: float) -> None:
        self._epsilons = (epsilon**self._exponents).astype(np.float32)
        self._column = 0

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Of all columns in order: in one call, or in several for some of them each."""
        best = self.best(observations)
        count = len(best)
        epsilons = self._epsilons_of_next(count)
        any_one = generator.integers(self._choices, size=count)
        explores = generator.random(count, dtype=np.float32) < epsilons
        actions = np.where(explores, any_one, best)
        each = epsilons / self._choices
        chances = np.where(actions == best, 1 - epsilons + each, each)
        return actions, np.log(chances, dtype=np.float32)

    def _epsilons_of_next(self, count: int) -> Floats:
        if len(self._epsilons) == 1:
            return self._epsilons
        first, end = self._column, self._column + count
        self._column = end % len(self._epsilons)
        return self._epsilons[first:end]

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        values = self._head(observations)
        # What a dueling head adds to all advantages alike does not change which one is highest.
        best: NDArray[Any] = values[:, -self._choices :].argmax(axis=1)
        return best

    def _head(self, observations: NDArray[Any]) -> Floats:
        return self._values(self._seen.encode(observations))

"""SAC's policy in the form that acts; `squashed_gaussian.py` is what trains it.

Actions are those of the environment: tanh of a normal variable, stretched from (-1, 1) to the
action's bounds. Log-probabilities are of the value in (-1, 1), as in the learner.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.perceptron import Perceptron
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ActionSpec, Spaces

Floats = NDArray[np.float32]
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class SquashedPolicy:
    """See `ActingPolicy`."""

    def __init__(self, spaces: Spaces, activation: str) -> None:
        self._seen, self._width = spaces.observation, spaces.action.width
        self._center, self._half = action_scale(spaces.action)
        self._net = Perceptron("actor", activation)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over the weights `actor.*`."""
        self._net.load(arrays)

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        head = self._net(self._seen.encode(observations))
        mean, log_std = head[:, : self._width], head[:, self._width :]
        log_std = log_std.clip(LOG_STD_MIN, LOG_STD_MAX)
        noise = generator.standard_normal(mean.shape, dtype=np.float32)
        before = (mean + np.exp(log_std) * noise).astype(np.float32, copy=False)
        narrowing = 2 * (math.log(2.0) - before - np.logaddexp(-2 * before, np.float32(0)))
        logp = (-0.5 * noise * noise - log_std - narrowing).sum(axis=1)
        logp -= self._width * 0.5 * math.log(2 * math.pi)
        return self._stretched(before), logp.astype(np.float32, copy=False)

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        return self._stretched(self._net(self._seen.encode(observations))[:, : self._width])

    def _stretched(self, before: Floats) -> Floats:
        stretched: Floats = np.tanh(before)
        stretched *= self._half
        stretched += self._center
        return stretched


def action_scale(action: ActionSpec, algorithm: str = "sac") -> tuple[Floats, Floats]:
    """Middle and half the width [A] of each dimension's range. UserError if one has no end."""
    bounds = [*action.low, *action.high]
    if action.kind != "continuous" or None in bounds:
        raise UserError(f"{algorithm} needs actions that are numbers between two bounds")
    low, high = np.array(bounds, dtype=np.float64).reshape(2, -1)
    return ((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)

"""Adam on one flat vector in a single pass, with the target networks' average in the same module.

The same numbers as `adam.Adam` to rounding; an update of small networks spends more time on that
one's seven passes than on its matrix products.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from covey.algorithms.compiled import compiled
from covey.algorithms.learner_group import Group

BETA_1, BETA_2 = 0.9, 0.999
Vector = NDArray[np.float32]


class FusedAdam:
    """Moves `parameters` along their gradient; `restore` goes on exactly from `state`.

    With `moments`, arrays like those of `state`, that is where it goes on from and what it writes.
    """

    def __init__(
        self,
        parameters: Vector,
        epsilon: float = 1e-8,
        moments: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._parameters = parameters
        self._epsilon = epsilon
        if moments is None:
            zeros = np.zeros_like(parameters)
            moments = {"mean": zeros, "square": zeros.copy(), "steps": np.zeros(1, np.int64)}
        self._mean, self._square = moments["mean"], moments["square"]
        self._steps = moments["steps"]

    def step(self, gradient: Vector, learning_rate: float, scale: float = 1.0) -> None:
        """One step of at most about `learning_rate` in each parameter; the gradient is multiplied
        by `scale` first.
        """
        self._steps += 1
        steps = int(self._steps[0])
        adam(
            self._parameters,
            self._mean,
            self._square,
            gradient,
            np.float32(scale),
            np.float32(learning_rate / (1 - BETA_1**steps)),
            np.float32(1 / math.sqrt(1 - BETA_2**steps)),
            np.float32(self._epsilon),
        )

    def agree(self, group: Group) -> None:
        """Take over where a group's first learner stands."""
        state = self.state()
        group.share(*map(torch.from_numpy, state.values()))
        self.restore(state)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of what later steps depend on."""
        return {
            "mean": self._mean.copy(),
            "square": self._square.copy(),
            "steps": self._steps.copy(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._mean[:] = arrays["mean"]
        self._square[:] = arrays["square"]
        self._steps[:] = arrays["steps"]


@compiled
def adam(
    parameters: Vector,
    mean: Vector,
    square: Vector,
    gradient: Vector,
    scale: np.float32,
    size: np.float32,
    root_scale: np.float32,
    epsilon: np.float32,
) -> None:
    keep, take = np.float32(1 - BETA_1), np.float32(1 - BETA_2)
    for i in range(parameters.size):
        slope = gradient[i] * scale
        mean[i] += (slope - mean[i]) * keep
        square[i] += (slope * slope - square[i]) * take
        parameters[i] -= size * mean[i] / (np.sqrt(square[i]) * root_scale + epsilon)


@compiled
def average(target: Vector, parameters: Vector, tau: np.float32) -> None:
    """Polyak averaging: the target moves by `tau` of the way to the parameters."""
    for i in range(target.size):
        target[i] += (parameters[i] - target[i]) * tau

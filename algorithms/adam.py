"""Adam (Kingma and Ba 2015, algorithm 1) on one flat parameter vector.

The same numbers as `torch.optim.Adam` to rounding. That one's first step imports torch's compiler,
which takes seconds, and each later one costs more in Python than these few operations do.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-5


class Adam:
    """Moves `parameters` along their gradient; `restore` goes on exactly from `state`."""

    def __init__(self, parameters: Tensor) -> None:
        self._parameters = parameters
        self._mean = torch.zeros_like(parameters, requires_grad=False)
        self._square = torch.zeros_like(parameters, requires_grad=False)
        self._steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """One step of at most about `learning_rate` in each parameter."""
        self._steps += 1
        self._mean.lerp_(gradient, 1 - BETA_1)
        self._square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale = math.sqrt(1 - BETA_2**self._steps)
        size = learning_rate / (1 - BETA_1**self._steps)
        self._parameters.addcdiv_(
            self._mean, (self._square.sqrt() / scale).add_(EPSILON), value=-size
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of what later steps depend on."""
        return {
            "mean": self._mean.numpy().copy(),
            "square": self._square.numpy().copy(),
            "steps": np.array([self._steps]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._mean.copy_(torch.from_numpy(np.array(arrays["mean"])))
        self._square.copy_(torch.from_numpy(np.array(arrays["square"])))
        self._steps = int(arrays["steps"][0])

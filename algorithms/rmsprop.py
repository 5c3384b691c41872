"""RMSProp (Tieleman and Hinton 2012, lecture 6e) on one flat parameter vector: the optimiser of
IMPALA's paper. The same numbers as `torch.optim.RMSprop` to rounding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DECAY = 0.99


class RMSProp:
    """Moves `parameters` along their gradient; `restore` goes on exactly from `state`.

    A gradient well below `epsilon` makes a step in proportion to it, as in plain descent; one well
    above it a step of about the learning rate.
    """

    def __init__(self, parameters: Tensor, epsilon: float) -> None:
        self._parameters, self._epsilon = parameters, epsilon
        self._square = torch.zeros_like(parameters, requires_grad=False)

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """One step."""
        self._square.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
        size = self._square.sqrt().add_(self._epsilon)
        self._parameters.addcdiv_(gradient, size, value=-learning_rate)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of what later steps depend on."""
        return {"square": self._square.numpy().copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._square.copy_(torch.from_numpy(np.array(arrays["square"])))

"""Action values by a perceptron with hand-written gradients; `q_image.py` is for images.

Shapes: N rows of a minibatch, A actions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.flat_mlp import Activation, FlatMlp, Pass, size, views


class QNetwork(Protocol):
    """Trained values and a target's, each with all parameters in one flat vector."""

    parameters: Tensor
    target: Tensor
    gradient: Tensor

    def values(self, observations: Tensor) -> Tensor:
        """The trained network's [N, A]."""

    def target_values(self, observations: Tensor) -> Tensor:
        """The target's [N, A]; until the next `values` they stay as they are."""

    def take(self, rows: int) -> None:
        """Be ready for so many rows."""

    def backward(self, slopes: Tensor) -> None:
        """Write `gradient`, from a loss's slopes by the result of the last `values`."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of both networks' weights, `q.*` and `target.*`."""

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `arrays`."""


class MlpQNetwork:
    """See `QNetwork`. Observations are inputs with a column of ones [N, I+1]."""

    def __init__(
        self,
        rows: int,
        inputs: int,
        actions: int,
        hidden: Sequence[int],
        activation: Activation,
        dueling: bool,
        generator: Generator,
    ) -> None:
        widths = (inputs, *hidden, actions + dueling)
        self._dueling = dueling
        self.parameters, self.target, self.gradient = torch.zeros(3, size(widths))
        self._net, self._target_net = (
            FlatMlp(vector, widths, activation) for vector in (self.parameters, self.target)
        )
        self._net.initialize(generator)
        self.target.copy_(self.parameters)
        self._views = views(self.gradient, widths)
        self.take(rows)
        self._seen = torch.empty(0)

    def take(self, rows: int) -> None:
        self._pass = Pass(rows, self._net.widths, self._net.activation)

    def values(self, observations: Tensor) -> Tensor:
        self._seen = observations
        return self._actions(self._pass.forward(self._net, observations))

    def target_values(self, observations: Tensor) -> Tensor:
        return self._actions(self._pass.forward(self._target_net, observations)).clone()

    def backward(self, slopes: Tensor) -> None:
        if self._dueling:
            slopes = dueling_slopes(slopes)
        self._pass.backward(self._net, self._seen, slopes, self._views, 0.0)

    def _actions(self, head: Tensor) -> Tensor:
        return dueling_values(head) if self._dueling else head

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self._net.arrays("q") | self._target_net.arrays("target")

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._net.load("q", arrays)
        self._target_net.load("target", arrays)


def dueling_values(head: Tensor) -> Tensor:
    """Value + advantages - their mean, [N, A], of a head [N, 1+A] (Wang et al. 2016, eq. 9)."""
    value, advantages = head[:, :1], head[:, 1:]
    return value + advantages - advantages.mean(1, keepdim=True)


def dueling_slopes(slopes: Tensor) -> Tensor:
    """Slopes by the head [N, 1+A], of those by the values [N, A]."""
    by_advantages = slopes - slopes.mean(1, keepdim=True)
    return torch.cat((slopes.sum(1, keepdim=True), by_advantages), dim=1)

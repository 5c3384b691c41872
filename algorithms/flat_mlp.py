"""A multilayer perceptron with hand-written gradients, for updates where autograd's bookkeeping
and its fresh memory would cost more than the products themselves.

Shapes: N rows of a minibatch, I and O a layer's inputs and outputs. A layer's weights and bias are
one matrix [I+1, O], its input a matrix [N, I+1] with a column of ones: bias and weights then share
one product forward and one backward. All matrices lie in one flat vector.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.compiled import compiled

Activation = Literal["tanh", "relu"]
ALIGNMENT = 16
"""Rows of a buffer begin at multiples of so many floats: a cache line."""


class FlatMlp:
    """Views of `parameters` (flat) as the layers of a perceptron with these widths.

    `ones_at` is the place of the column of ones in the input; after the inputs by default.
    """

    def __init__(
        self,
        parameters: Tensor,
        widths: Sequence[int],
        activation: Activation,
        ones_at: int | None = None,
    ) -> None:
        self.widths, self.activation = tuple(widths), activation
        self.ones_at = self.widths[0] if ones_at is None else ones_at
        self.layers = views(parameters, widths)

    @cached_property
    def inner(self) -> list[Tensor]:
        """Of each layer but the first, the transposed weights [O, I] without the bias."""
        return [layer[:-1].t() for layer in self.layers[1:]]

    @cached_property
    def first_output(self) -> NDArray[np.float32]:
        """The last layer's weights [I] of the first output, without the bias."""
        array: NDArray[np.float32] = self.layers[-1].numpy()[:-1, 0]
        return array

    def initialize(self, generator: Generator) -> None:
        """Uniform within 1/sqrt(I), weights and biases alike (torch's default for linear ones)."""
        for layer in self.layers:
            bound = 1 / math.sqrt(len(layer) - 1)
            drawn = generator.uniform(-bound, bound, layer.shape).astype(np.float32)
            layer.copy_(torch.from_numpy(drawn))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Copies: `name.0.weight` [O, I], `name.0.bias` [O] and so on."""
        arrays: dict[str, NDArray[Any]] = {}
        for index, layer in enumerate(self.layers):
            ones = self._ones(index)
            matrix = layer.numpy()
            arrays[f"{name}.{index}.weight"] = np.delete(matrix, ones, axis=0).T.copy()
            arrays[f"{name}.{index}.bias"] = matrix[ones].copy()
        return arrays

    def load(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `arrays`."""
        for index, layer in enumerate(self.layers):
            weight, bias = arrays[f"{name}.{index}.weight"], arrays[f"{name}.{index}.bias"]
            layer.copy_(torch.from_numpy(np.insert(weight.T, self._ones(index), bias, axis=0)))

    def _ones(self, index: int) -> int:
        return self.ones_at if index == 0 else self.widths[index]


def size(widths: Sequence[int]) -> int:
    """How many parameters a perceptron of these widths has."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def views(vector: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """A flat vector as the matrices [I+1, O] of a perceptron's layers."""
    made, start = [], 0
    for inputs, outputs in pairwise(widths):
        end = start + (inputs + 1) * outputs
        made.append(vector[start:end].view(inputs + 1, outputs))
        start = end
    return made


def with_ones(rows: int, width: int, ones_at: int | None = None) -> Tensor:
    """A buffer [rows, width + 1] of zeros with the column of ones; each row aligned."""
    padded = -(-(width + 1) // ALIGNMENT) * ALIGNMENT
    buffer = torch.zeros(rows, padded)
    buffer[:, width if ones_at is None else ones_at] = 1.0
    return buffer[:, : width + 1]


class Pass:
    """Room for `rows` rows on their way through perceptrons of one shape, forward and backward;
    `values` is `output` as an array.

    `x` [rows, I+1] is always an input with its column of ones. `forward` leaves what `backward`
    needs, so the two go in pairs.
    """

    def __init__(self, rows: int, widths: Sequence[int], activation: Activation) -> None:
        self._relu = activation == "relu"
        *hidden, outputs = widths[1:]
        self._padded = [with_ones(rows, width) for width in hidden]
        self._hidden = [padded[:, :-1] for padded in self._padded]
        self._transposed = [padded.t() for padded in self._padded]
        self._slopes = [torch.empty(rows, width) for width in hidden]
        # relu leaves ones and zeros alone, so it may run over whole rows, which is faster.
        self._whole = [whole(padded) for padded in self._padded]
        self._masks = [
            (slopes.numpy(), values.numpy())
            for slopes, values in zip(self._slopes, self._whole, strict=True)
        ]
        self.output = torch.empty(rows, outputs)
        self.values: NDArray[np.float32] = self.output.numpy()

    def forward(self, net: FlatMlp, x: Tensor) -> Tensor:
        """`output` [rows, O]."""
        for index, layer in enumerate(net.layers[:-1]):
            torch.mm(x, layer, out=self._hidden[index])
            if self._relu:
                self._whole[index].relu_()
            else:
                self._hidden[index].tanh_()
            x = self._padded[index]
        return torch.mm(x, net.layers[-1], out=self.output)

    def backward(
        self, net: FlatMlp, x: Tensor, slopes: Tensor, gradient: list[Tensor] | None, beta: float
    ) -> Tensor:
        """From the loss's slopes by the output [rows, O] to those by the first layer's sums.

        `gradient` (`views` of a flat vector) becomes beta times itself plus this pass's; None
        leaves it out. What is returned times the first layer's transposed weights is the slope by
        the input.
        """
        for index in range(len(self._hidden) - 1, -1, -1):
            if gradient is not None:
                gradient[index + 1].addmm_(self._transposed[index], slopes, beta=beta)
            slopes = self._through(net, index, slopes)
        if gradient is not None:
            gradient[0].addmm_(x.t(), slopes, beta=beta)
        return slopes

    def backward_of(self, net: FlatMlp, rows: Tensor, slope: float) -> Tensor:
        """`backward` of these rows alone, by index, for a net of one output, whose slope is the
        same for all of them; without a gradient. [len(rows), O].
        """
        chosen, count = rows.numpy(), len(rows)
        slopes = self._slopes[-1][:count]
        slopes[:] = net.layers[-1][:-1, 0].mul(slope)
        for index in range(len(self._hidden) - 1, -1, -1):
            if index < len(self._hidden) - 1:
                slopes = torch.mm(slopes, net.inner[index], out=self._slopes[index][:count])
            if self._relu:
                mask_rows(slopes.numpy(), self._masks[index][1], chosen)
            else:
                values = self._hidden[index].index_select(0, rows)
                torch.ops.aten.tanh_backward.grad_input(slopes, values, grad_input=slopes)
        return slopes

    def _through(self, net: FlatMlp, index: int, slopes: Tensor) -> Tensor:
        """From slopes by the layer after a hidden one to those by the hidden one's sums."""
        before = self._slopes[index]
        if self._relu and slopes.shape[1] == 1:
            spread(slopes.numpy(), net.first_output, *self._masks[index])
            return before
        torch.mm(slopes, net.inner[index], out=before)
        if self._relu:
            mask(*self._masks[index])
        else:
            values = self._hidden[index]
            torch.ops.aten.tanh_backward.grad_input(before, values, grad_input=before)
        return before


def whole(padded: Tensor) -> Tensor:
    """The aligned buffer [rows, aligned] that `with_ones` gave a part of."""
    return padded.as_strided((len(padded), padded.stride(0)), (padded.stride(0), 1))


@compiled
def mask(slopes: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    """relu's gradient: slopes [N, O] become zero where values [N, >= O] are."""
    for i in range(slopes.shape[0]):
        for j in range(slopes.shape[1]):
            slopes[i, j] = slopes[i, j] if values[i, j] > 0 else np.float32(0)


@compiled
def mask_rows(
    slopes: NDArray[np.float32], values: NDArray[np.float32], rows: NDArray[np.int64]
) -> None:
    """`mask` where row i of the slopes belongs to row rows[i] of the values."""
    for i in range(slopes.shape[0]):
        row = rows[i]
        for j in range(slopes.shape[1]):
            slopes[i, j] = slopes[i, j] if values[row, j] > 0 else np.float32(0)


@compiled
def spread(
    outer: NDArray[np.float32],
    weights: NDArray[np.float32],
    slopes: NDArray[np.float32],
    values: NDArray[np.float32],
) -> None:
    """The product of slopes [N, 1] by a single output and its weights [O], and `mask`, in one
    pass.
    """
    for i in range(slopes.shape[0]):
        slope = outer[i, 0]
        for j in range(slopes.shape[1]):
            slopes[i, j] = slope * weights[j] if values[i, j] > 0 else np.float32(0)

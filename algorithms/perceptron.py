"""The forward pass of a multilayer perceptron in plain numpy, for those who act."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Perceptron:
    """`load` weights under a name, `name.0.weight` [O, I] and `name.0.bias` [O] and so on."""

    def __init__(self, name: str, activation: str) -> None:
        self._name, self._tanh = name, activation == "tanh"
        self._layers: list[tuple[Floats, Floats]] = []

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over weights."""
        self._layers = []
        while (weight := arrays.get(f"{self._name}.{len(self._layers)}.weight")) is not None:
            bias = arrays[f"{self._name}.{len(self._layers)}.bias"]
            # Transposed once: the product reads its right side along rows.
            self._layers.append((np.ascontiguousarray(weight.T), bias))

    def __call__(self, rows: Floats) -> Floats:
        """Outputs [B, O] for inputs [B, I]."""
        last = len(self._layers) - 1
        for index, (weight, bias) in enumerate(self._layers):
            rows = rows @ weight
            rows += bias
            if index < last:
                _ = np.tanh(rows, out=rows) if self._tanh else np.maximum(rows, 0.0, out=rows)
        return rows

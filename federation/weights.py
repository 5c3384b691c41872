"""A model's weights as one long vector, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from covey.federation.numpy_array import checked

Vector = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Weights:
    """`flat` holds the numbers of all arrays of floats, one after the other, in a type that holds
    each of them; `others` are the arrays that are no floats, such as counters.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[np.dtype[Any], ...]
    flat: Vector
    others: dict[str, Array]
    order: tuple[str, ...]

    @classmethod
    def of(cls, record: ArrayRecord) -> Weights:
        """The weights of a record. ValueError where bytes are not what they say they are."""
        arrays = {name: checked(array) for name, array in record.items()}
        numbers = {
            name: array.numpy() for name, array in arrays.items() if array.dtype.startswith("float")
        }
        others = {name: array for name, array in arrays.items() if name not in numbers}
        if not numbers:
            raise ValueError("there are no arrays of floats to compress")
        return cls(
            tuple(numbers),
            tuple(array.shape for array in numbers.values()),
            tuple(array.dtype for array in numbers.values()),
            np.concatenate([array.ravel() for array in numbers.values()]),
            others,
            tuple(record),
        )

    @property
    def sizes(self) -> list[int]:
        """How many numbers each array has."""
        return [int(np.prod(shape)) for shape in self.shapes]

    def split(self, flat: Vector) -> list[Vector]:
        """The parts of a vector like `flat` that belong to one array each: views."""
        return np.split(flat, np.cumsum(self.sizes)[:-1])

    def with_flat(self, flat: Vector, others: dict[str, Array]) -> ArrayRecord:
        """A record like the one these weights are of, with other numbers."""
        parts = zip(self.names, self.shapes, self.kinds, self.split(flat), strict=True)
        arrays = {
            name: Array(part.reshape(shape).astype(kind)) for name, shape, kind, part in parts
        }
        return ArrayRecord({name: arrays.get(name) or others[name] for name in self.order})

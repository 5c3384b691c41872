"""A model's weights as one long vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from covey.federation.numpy_array import NUMPY, NumpyArray, checked, numbers_of

Vector = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Weights:
    """`flat`: [N] holds the numbers of some arrays of floats, one after the other, in a type that
    holds each of them.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[np.dtype[Any], ...]
    flat: Vector

    @classmethod
    def of(cls, record: ArrayRecord, names: Iterable[str]) -> Weights:
        """These arrays of a record. ValueError where bytes are not what they say they are."""
        arrays = {name: checked(record[name]).numpy() for name in names}
        if not arrays:
            raise ValueError("there are no arrays of floats to compress")
        return cls(
            tuple(arrays),
            tuple(array.shape for array in arrays.values()),
            tuple(array.dtype for array in arrays.values()),
            np.concatenate([array.ravel() for array in arrays.values()]),
        )

    @property
    def sizes(self) -> list[int]:
        """How many numbers each array has."""
        return [int(np.prod(shape)) for shape in self.shapes]

    def split(self, flat: Vector) -> list[Vector]:
        """The parts of a vector like `flat` that belong to one array each: views."""
        return np.split(flat, np.cumsum(self.sizes)[:-1])

    def arrays(self, flat: Vector) -> dict[str, Array]:
        """Arrays like these with other numbers."""
        parts = zip(self.names, self.shapes, self.kinds, self.split(flat), strict=True)
        return {name: Array(part.reshape(shape).astype(kind)) for name, shape, kind, part in parts}


def are_weights(array: Array) -> bool:
    """Whether an array is of floats. Single numbers are none: often they count something, and the
    average of counters is a float although the counters are not.
    """
    return array.dtype.startswith("float") and len(array.shape) > 0


def as_precise_as(sent: ArrayRecord, arrays: ArrayRecord) -> ArrayRecord:
    """The arrays with floats of the kind that clients were sent: Flower's adaptive strategies make
    float64 of float32, which is twice the bytes for clients to turn back.
    """
    if all(not _more(array, sent.get(name)) for name, array in arrays.items()):
        return arrays
    return ArrayRecord(
        {
            name: NumpyArray(numbers_of(array).astype(sent[name].dtype))
            if _more(array, sent.get(name))
            else array
            for name, array in arrays.items()
        }
    )


def _more(array: Array, sent: Array | None) -> bool:
    return (
        sent is not None
        and array.dtype != sent.dtype
        and array.stype == sent.stype == NUMPY
        and array.dtype.startswith("float")
        and sent.dtype.startswith("float")
    )

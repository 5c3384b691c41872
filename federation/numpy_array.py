"""Flower's `Array` that holds its numbers: handing it on writes and reads no `.npy` file.

What comes from somebody else is checked first: a header may claim a shape that its bytes do not
have, and numpy would take memory for it before it finds out.
"""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, RecordDict
from numpy.typing import NDArray

from covey.federation.npy import parse_npy

NUMPY = "numpy.ndarray"
"""Flower's name for the bytes of a `.npy` file."""


class NumpyArray(Array):
    """Numbers of any shape, read-only; `numpy()` gives a copy that may be changed, as Flower's."""

    def __init__(self, numbers: NDArray[Any]) -> None:
        numbers = numbers.view()
        numbers.setflags(write=False)
        self.__dict__.update(
            _numbers=numbers, dtype=_name(numbers.dtype), shape=numbers.shape, stype=NUMPY
        )

    @property
    def numbers(self) -> NDArray[Any]:
        """The array itself, for those who only read."""
        if "_numbers" not in self.__dict__:
            self.__dict__["_numbers"] = parse_npy(self.data)
        numbers: NDArray[Any] = self.__dict__["_numbers"]
        return numbers

    @property
    def data(self) -> bytes:
        """The bytes of a `.npy` file."""
        if "_bytes" not in self.__dict__:
            buffer = BytesIO()
            np.save(buffer, self.numbers, allow_pickle=False)
            self.__dict__["_bytes"] = buffer.getvalue()
        written: bytes = self.__dict__["_bytes"]
        return written

    @data.setter
    def data(self, value: bytes) -> None:
        self.__dict__["_bytes"] = value
        self.__dict__.pop("_numbers", None)

    def numpy(self) -> NDArray[Any]:
        return self.numbers.copy(order="K")

    def deflate(self) -> bytes:
        """Flower's form for the wire, which says what it is by the name of its class."""
        return Array(self.dtype, self.shape, self.stype, self.data).deflate()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Array):
            return NotImplemented
        mine, its = ((a.dtype, tuple(a.shape), a.stype, a.data) for a in (self, other))
        return mine == its

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Array], tuple[Any, ...]]:
        if self.numbers.dtype.isnative:
            return NumpyArray, (self.numbers,)  # which need not be copied on the way
        return Array, (self.dtype, self.shape, self.stype, self.data)


@lru_cache(maxsize=64)
def _name(kind: np.dtype[Any]) -> str:
    """Numpy takes 10 microseconds for it."""
    return str(kind)


def checked(array: Array) -> Array:
    """The array, if its bytes are what it says they are; one of numbers as a NumpyArray.

    ValueError for others. Arrays of another serialisation are their apps' own business.
    """
    if isinstance(array, NumpyArray):
        return NumpyArray(array.numbers)
    if array.stype != NUMPY:
        return array
    numbers = parse_npy(array.data)
    if (_name(numbers.dtype), numbers.shape) != (array.dtype, tuple(array.shape)):
        raise ValueError(
            f"an array that says it is {array.dtype} {list(array.shape)} holds"
            f" {numbers.dtype} {list(numbers.shape)}"
        )
    return NumpyArray(numbers)


def numbers_of(array: Array) -> NDArray[Any]:
    """An array's numbers, without a copy where that can be: for those who only read."""
    return array.numbers if isinstance(array, NumpyArray) else parse_npy(array.data)


def owned(records: RecordDict) -> RecordDict:
    """The records with numbers in this process's own memory, for those who keep them: others may
    lie in memory that is shared, and would hold all of it.
    """
    for record in records.array_records.values():
        for name, array in record.items():
            if isinstance(array, NumpyArray):
                record[name] = NumpyArray(array.numpy())
    return records

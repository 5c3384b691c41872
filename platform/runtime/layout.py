"""Arrays side by side in one block of memory, at the same places for each process that sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

Buffer = memoryview
"""Writable bytes."""

# A cache line: words that different processes write must not share one, and rows copy fastest from
# its start.
ALIGNMENT = 64


@dataclass(frozen=True)
class Field:
    """One array."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Its length without padding."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """Where each field lies: in order, each from a multiple of 64 bytes on. Picklable."""

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Self:
        """Room for arrays like these, under `prefix` + their names."""
        return cls(tuple(Field(prefix + n, a.dtype.str, a.shape) for n, a in arrays.items()))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.fields + other.fields)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """In bytes, one a field."""
        offsets, end = [], 0
        for field in self.fields:
            offsets.append(end)
            end += -(-field.size_bytes // ALIGNMENT) * ALIGNMENT
        return tuple(offsets)

    @property
    def size_bytes(self) -> int:
        """Of all of it, padding included; at least 1, since no memory is empty."""
        if not self.fields:
            return 1
        return max(1, self.offsets[-1] + self.fields[-1].size_bytes)

    def views(self, buffer: Buffer) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the buffer's memory. ValueError if it is too small."""
        if len(buffer) < self.size_bytes:
            raise ValueError(f"{self.size_bytes} bytes wanted, {len(buffer)} there")
        return {
            field.name: np.ndarray(field.shape, field.dtype, buffer, offset)
            for field, offset in zip(self.fields, self.offsets, strict=True)
        }


def integers(array: NDArray[Any]) -> "memoryview[int]":
    """Its items one by one, for reading and writing them in half the time that the array takes.

    Each is loaded and stored by one instruction: no other process sees half of one.
    """
    return array.data


def floats(array: NDArray[Any]) -> "memoryview[float]":
    """The same for an array of float64."""
    return cast("memoryview[float]", array.data)

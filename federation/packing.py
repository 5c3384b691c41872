"""Ways to write the update of a model in fewer bytes: the most changed weights, or few bits each.

`pack` is the client's side and `unpack` the server's, which trusts nothing that it is given.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flwr.app import Array, ConfigRecord
from numpy.typing import NDArray

from covey.federation.compression_section import MAX_BITS, CompressionSection
from covey.federation.compression_section import Quantised as QuantisedOptions
from covey.federation.numpy_array import checked
from covey.federation.weights import Vector, Weights

CHUNK = 1 << 16
"""Numbers that are packed at a time: single bits take 8 to 16 times their room."""

Packed = dict[str, NDArray[Any]]


class Packing(ABC):
    """One way, with its options. `names` are those of the arrays that travel."""

    names: ClassVar[tuple[str, ...]]

    @abstractmethod
    def config(self) -> ConfigRecord:
        """What the server has to know, for `packing_from`."""

    @abstractmethod
    def pack(self, new: Weights, old: Vector, left_out: Vector) -> tuple[Packed, Vector]:
        """The arrays to send, and what is left out now.

        `new` are the trained weights, old: [N] the received ones; left_out: [N] is what replies
        have left out until now, and is to be sent too.
        """

    @abstractmethod
    def unpack(self, packed: Mapping[str, Array], old: Weights) -> Vector:
        """The new weights [N]. ValueError for arrays that `pack` cannot have made."""


@dataclass(frozen=True)
class TopK(Packing):
    """Indices, in rising order, and new values of the weights that changed most.

    Values and not changes: a weight that is sent arrives exactly.
    """

    fraction: float = 1.0
    names: ClassVar[tuple[str, ...]] = ("top-k indices", "top-k values")

    def config(self) -> ConfigRecord:
        return ConfigRecord({"kind": "top-k"})

    def pack(self, new: Weights, old: Vector, left_out: Vector) -> tuple[Packed, Vector]:
        change = new.flat - old + left_out
        count = math.ceil(self.fraction * len(change))
        chosen = np.argpartition(np.abs(change), len(change) - count)[len(change) - count :]
        chosen = np.sort(chosen).astype(np.uint32)
        values = new.flat[chosen] + left_out[chosen]
        change[chosen] = 0
        return dict(zip(self.names, (chosen, values), strict=True)), change

    def unpack(self, packed: Mapping[str, Array], old: Weights) -> Vector:
        indices, values = (_numbers(packed[name], name) for name in self.names)
        size = len(old.flat)
        if indices.dtype != np.uint32 or values.dtype != old.flat.dtype:
            raise ValueError(f"indices of {indices.dtype}, values of {values.dtype}")
        if not 0 < len(indices) == len(values) <= size:
            raise ValueError(f"{len(indices)} indices and {len(values)} values for {size} weights")
        if indices[-1] >= size or not (indices[1:] > indices[:-1]).all():
            raise ValueError(f"indices that are not in rising order from 0 to {size - 1}")
        flat = old.flat.copy()
        flat[indices] = values
        return flat


@dataclass(frozen=True)
class Quantised(Packing):
    """Each weight's change as a whole number of `bits`, 0 for the least change of its array and
    2^bits - 1 for the greatest; rounded to the nearest.
    """

    bits: int
    names: ClassVar[tuple[str, ...]] = ("quantised bits", "quantised ranges")

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise ValueError(f"bits is {self.bits}; it must be from 1 to {MAX_BITS}")

    def config(self) -> ConfigRecord:
        return ConfigRecord({"kind": "quantised", "bits": self.bits})

    def pack(self, new: Weights, old: Vector, left_out: Vector) -> tuple[Packed, Vector]:
        change = new.flat - old + left_out
        parts = new.split(change)
        ranges = np.array([_range(part) for part in parts], change.dtype)  # [arrays, 2]
        levels = [self._levels(part, *bounds) for part, bounds in zip(parts, ranges, strict=True)]
        numbers = np.concatenate(levels)
        packed = (pack_bits(numbers, self.bits), ranges)
        left_out = change - self._changes(numbers, ranges, new)
        return dict(zip(self.names, packed, strict=True)), left_out

    def unpack(self, packed: Mapping[str, Array], old: Weights) -> Vector:
        written = checked(packed[self.names[0]]).numpy()
        ranges = checked(packed[self.names[1]]).numpy()
        size = len(old.flat)
        expected = ((-(-size * self.bits // 8),), (len(old.names), 2))
        if (written.shape, ranges.shape) != expected:
            raise ValueError(
                f"arrays of {[*written.shape]} and {[*ranges.shape]}, for {size} weights of "
                f"{self.bits} bits {[*expected[0]]} and {[*expected[1]]} are expected"
            )
        if written.dtype != np.uint8 or ranges.dtype != old.flat.dtype:
            raise ValueError(f"bits in {written.dtype}, ranges of {ranges.dtype}")
        changes = self._changes(unpack_bits(written, self.bits, size), ranges, old)
        return old.flat + changes

    def _levels(self, part: Vector, least: Any, greatest: Any) -> NDArray[np.uint16]:
        width = greatest - least
        if not 0 < width < math.inf:  # nothing changed, or the client has gone astray
            return np.zeros(len(part), np.uint16)
        scaled = (part - least) * ((2**self.bits - 1) / width)
        levels: NDArray[np.uint16] = np.rint(scaled).clip(0, 2**self.bits - 1).astype(np.uint16)
        return levels

    def _changes(self, numbers: NDArray[np.uint16], ranges: Vector, like: Weights) -> Vector:
        """What the numbers stand for: the same on the client, which keeps the difference."""
        least, greatest = np.repeat(ranges, like.sizes, axis=0).T
        with np.errstate(invalid="ignore", over="ignore"):  # a client gone astray stays so
            step = (greatest - least) / (2**self.bits - 1)
            changes: Vector = (least + numbers * step).astype(ranges.dtype)
        return changes


def packing_of(options: CompressionSection) -> Packing:
    """The packing that a job file asks for."""
    if isinstance(options, QuantisedOptions):
        return Quantised(options.bits)
    return TopK(options.fraction)


def packing_from(config: Mapping[str, Any]) -> Packing:
    """The packing that a reply says it has. ValueError for what is none."""
    kind, bits = config.get("kind"), config.get("bits")
    if kind == "top-k":
        return TopK()
    if kind == "quantised" and type(bits) is int:
        return Quantised(bits)
    raise ValueError(f"no packing is called {str(kind)[:40]!r} with bits {str(bits)[:40]}")


def pack_bits(numbers: NDArray[np.uint16], bits: int) -> NDArray[np.uint8]:
    """Numbers below 2^bits, one after the other without gaps: ceil(N bits / 8) bytes."""
    places = np.arange(bits - 1, -1, -1, dtype=np.uint16)
    packed = [
        np.packbits((numbers[start : start + CHUNK, None] >> places & 1).astype(np.uint8))
        for start in range(0, len(numbers), CHUNK)
    ]
    return np.concatenate(packed)


def unpack_bits(written: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """The numbers that `pack_bits` has written: [count]."""
    numbers = np.empty(count, np.uint16)
    places = np.arange(bits - 1, -1, -1, dtype=np.uint16)
    for start in range(0, count, CHUNK):
        end = min(count, start + CHUNK)
        part = written[start * bits // 8 : -(-end * bits // 8)]
        single = np.unpackbits(part, count=(end - start) * bits).reshape(-1, bits)
        numbers[start:end] = (single.astype(np.uint16) << places).sum(axis=1, dtype=np.uint16)
    return numbers


def _range(part: Vector) -> tuple[float, float]:
    return (float(part.min()), float(part.max())) if len(part) else (0.0, 0.0)


def _numbers(array: Array, name: str) -> NDArray[Any]:
    numbers = checked(array).numpy()
    if numbers.ndim != 1:
        raise ValueError(f"{name} of shape {[*numbers.shape]}")
    return numbers

"""Messages of CHOCO-SGD: a vector in fewer bytes. What `unpack` gives is the same on every peer.

Rows are peers; the numbers of the senders and of the round say which random indices are meant.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.p2p.links import Rows
from covey.federation.p2p.messages import Message
from covey.federation.packing import pack_bits, unpack_bits
from covey.platform.seeds import derive


class Compressor(ABC):
    """One way. The mean square of what it leaves out is less than that of the vector."""

    @abstractmethod
    def pack(self, vectors: Rows, senders: Sequence[int], round_: int) -> Message:
        """vectors: [n, D]."""

    @abstractmethod
    def unpack(self, message: Message, size: int, senders: Sequence[int], round_: int) -> Rows:
        """[m, D], D the size. ValueError for a message that `pack` cannot have made."""


@dataclass(frozen=True)
class TopK(Compressor):
    """The share of the numbers that is greatest in modulus, 8 bytes each in float32."""

    fraction: float

    def pack(self, vectors: Rows, senders: Sequence[int], round_: int) -> Message:
        count = count_of(self.fraction, vectors.shape[1])
        chosen = np.stack([greatest(vector, count) for vector in vectors])
        return {"indices": chosen, "values": np.take_along_axis(vectors, chosen.astype(int), 1)}

    def unpack(self, message: Message, size: int, senders: Sequence[int], round_: int) -> Rows:
        indices, values = message["indices"], message["values"]
        count = count_of(self.fraction, size)
        if indices.shape != (len(senders), count) or values.shape != indices.shape:
            raise ValueError(f"{values.shape} values where {count} of {size} are to be")
        if indices.dtype != np.uint32 or (np.diff(indices.astype(np.int64), axis=1) <= 0).any():
            raise ValueError("indices that are not in rising order")
        if (indices >= size).any():
            raise ValueError(f"indices beyond {size}")
        return placed(values, indices.astype(int), size)


@dataclass(frozen=True)
class RandomK(Compressor):
    """A share of the numbers, drawn anew each round, which the receivers draw as well: 4 bytes each
    in float32.
    """

    fraction: float
    seed: int

    def pack(self, vectors: Rows, senders: Sequence[int], round_: int) -> Message:
        indices = self._indices(vectors.shape[1], senders, round_)
        return {"values": np.take_along_axis(vectors, indices, 1)}

    def unpack(self, message: Message, size: int, senders: Sequence[int], round_: int) -> Rows:
        values, count = message["values"], count_of(self.fraction, size)
        if values.shape != (len(senders), count):
            raise ValueError(f"{values.shape} values where {count} of {size} are to be")
        return placed(values, self._indices(size, senders, round_), size)

    def _indices(self, size: int, senders: Sequence[int], round_: int) -> NDArray[np.int64]:
        count = count_of(self.fraction, size)
        draws = (derive(self.seed, "random-k", round_, int(sender)) for sender in senders)
        chosen = [np.random.default_rng(draw).choice(size, count, replace=False) for draw in draws]
        return np.sort(np.array(chosen, np.int64), axis=1)


@dataclass(frozen=True)
class Quantised(Compressor):
    """Each number as one of 2^bits that lie evenly from the least to the greatest, the nearest."""

    bits: int

    def pack(self, vectors: Rows, senders: Sequence[int], round_: int) -> Message:
        bounds = np.stack([vectors.min(1), vectors.max(1)], axis=1)
        steps = (bounds[:, 1] - bounds[:, 0]) / (2**self.bits - 1)
        scale = np.divide(1, steps, out=np.zeros_like(steps), where=steps > 0)
        levels = np.rint((vectors - bounds[:, :1]) * scale[:, None])
        numbers = levels.clip(0, 2**self.bits - 1).astype(np.uint16)
        return {"bits": np.stack([pack_bits(row, self.bits) for row in numbers]), "bounds": bounds}

    def unpack(self, message: Message, size: int, senders: Sequence[int], round_: int) -> Rows:
        written, bounds = message["bits"], message["bounds"]
        expected = (len(senders), math.ceil(size * self.bits / 8)), (len(senders), 2)
        if (written.shape, bounds.shape) != expected or written.dtype != np.uint8:
            raise ValueError(f"bits of {written.shape} where {expected[0]} are to be")
        steps = (bounds[:, 1:] - bounds[:, :1]) / (2**self.bits - 1)
        numbers = np.stack([unpack_bits(row, self.bits, size) for row in written])
        found: Rows = (bounds[:, :1] + numbers * steps).astype(bounds.dtype)
        return found


def count_of(fraction: float, size: int) -> int:
    """How many numbers that share is, at least one."""
    return max(1, math.ceil(fraction * size))


def greatest(vector: Rows, count: int) -> NDArray[np.uint32]:
    """The indices of the numbers that are greatest in modulus, rising; of equals the first ones.

    Equal is what differs in the last bits alone: those depend on how many peers a process trains,
    and data has features that are equally rare.
    """
    kind, dropped = ("uint64", 29) if vector.dtype == np.float64 else ("uint32", 11)
    sizes: NDArray[Any] = np.abs(vector).view(kind)
    sizes = (sizes + (1 << dropped - 1)) >> dropped
    last = np.partition(sizes, len(sizes) - count)[len(sizes) - count]
    above = np.flatnonzero(sizes > last)
    equal = np.flatnonzero(sizes == last)[: count - len(above)]
    return np.sort(np.concatenate([above, equal])).astype(np.uint32)


def placed(values: Rows, indices: NDArray[np.int64], size: int) -> Rows:
    """The values at their indices, zero elsewhere: [m, k] -> [m, size]."""
    out = np.zeros((len(values), size), values.dtype)
    np.put_along_axis(out, indices, values, 1)
    return out

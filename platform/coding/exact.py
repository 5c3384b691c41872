"""The same assignments over the raw bytes of the results, so that decoding is exact to the bit.

Workers that have one task send its bytes. The others send them mixed: Reed-Solomon over GF(2^8)
(zfec) where the code is MDS, exclusive or where it is LDPC. Nothing is rounded, whoever answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.code import Code, CodeError, NotDecodable
from covey.platform.coding.ldpc import reduced

DIGEST_BYTES = 16
Blob = bytes | bytearray | memoryview


def digest(blob: Blob) -> bytes:
    """Of a task's bytes: everybody who computes the task sends it along."""
    return blake2b(blob, digest_size=DIGEST_BYTES).digest()


class ByteCode(Protocol):
    """As a `Code`, for results that are bytes, all of one length."""

    workers: int
    tasks: int

    def tasks_of(self, worker: int) -> tuple[int, ...]:
        """The tasks whose results a worker needs."""

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        """What a worker sends, of the results of its tasks."""

    def decodable(self, received: Sequence[int]) -> bool:
        """Whether what these workers sent is enough."""

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        """The results of all tasks. NotDecodable if what was sent is not enough."""


Form = Code | ByteCode
"""A code over numbers, or over bytes."""


def form_of(code: Code, exact: bool) -> Form:
    """The one that is to be used."""
    return byte_code(code) if exact else code


def byte_code(code: Code) -> ByteCode:
    """The exact form of a code. CodeError if it has none."""
    if code.name == "mds":
        return ReedSolomon(code)
    if code.name in ("uncoded", "replication", "ldpc"):
        return ExclusiveOr(code)
    raise CodeError(
        f"{code.name} has no exact form, since its results are rounded sums; uncoded, replication,"
        " mds and ldpc have one"
    )


class ReedSolomon:
    """Systematic, any M of N."""

    def __init__(self, code: Code) -> None:
        import zfec  # type: ignore[import-untyped]

        if code.workers > 256:
            raise CodeError(f"mds: exact is for up to 256 workers, not {code.workers}")
        self.workers, self.tasks = int(code.workers), int(code.tasks)
        self.tasks_of = code.tasks_of
        self._encoder = zfec.Encoder(code.tasks, code.workers)
        self._decoder = zfec.Decoder(code.tasks, code.workers)

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        if worker < self.tasks:
            return results[worker]
        blocks = tuple(results[task] for task in range(self.tasks))
        (made,) = self._encoder.encode(blocks, (worker,))
        sent: bytes = made
        return sent

    def decodable(self, received: Sequence[int]) -> bool:
        return len(set(received)) >= self.tasks

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        chosen = sorted(received)[: self.tasks]  # plain ones first
        if len(chosen) < self.tasks:
            raise NotDecodable(f"{len(chosen)} of {self.tasks} results")
        return list(self._decoder.decode([received[worker] for worker in chosen], chosen))


class ExclusiveOr:
    """An assignment matrix of 0 and 1 over GF(2)."""

    def __init__(self, code: Code) -> None:
        self.workers, self.tasks = int(code.workers), int(code.tasks)
        self.tasks_of = code.tasks_of
        self._matrix: NDArray[np.bool_] = code.matrix != 0

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        return mixed(results[task] for task in self.tasks_of(worker))

    def decodable(self, received: Sequence[int]) -> bool:
        return self._solved(sorted(set(received))) is not None

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        order = sorted(received)
        chosen = self._solved(order)
        if chosen is None:
            raise NotDecodable(f"the results of workers {order} are not enough")
        return [mixed(received[order[place]] for place in np.flatnonzero(row)) for row in chosen]

    def _solved(self, order: Sequence[int]) -> NDArray[np.bool_] | None:
        """For every task the rows [M, R] that add up to it; None if there are none."""
        rows = self._matrix[list(order)]
        solved, pivots = reduced(np.hstack([rows.T.copy(), np.eye(self.tasks, dtype=bool)]))
        # [rows^T | I] in reduced form: with full rank the first M pivots are received rows.
        if pivots[: self.tasks] != [p for p in pivots if p < len(order)]:
            return None
        weights = np.zeros((self.tasks, len(order)), dtype=bool)
        weights[:, pivots] = solved[:, len(order) :].T
        return weights


def mixed(blobs: Iterable[Blob]) -> Blob:
    """Exclusive or of bytes of one length; a single one as it is."""
    first, *others = blobs
    if not others:
        return first
    total = np.frombuffer(first, dtype=np.uint8).copy()
    for other in others:
        total ^= np.frombuffer(other, dtype=np.uint8)
    return total.tobytes()

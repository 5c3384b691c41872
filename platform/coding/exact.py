"""The same assignments over the raw bytes of the results, so that decoding is exact to the bit.

Workers that have one task send its bytes. The others send them mixed: Reed-Solomon over GF(2^8)
(ISA-L, through PyECLib) where the code is MDS, exclusive or where it is LDPC. Nothing is rounded,
whoever answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import blake2b
from operator import or_
from typing import Any, Protocol

import numpy as np

from covey.platform.coding.code import Code, CodeError, NotDecodable
from covey.platform.coding.patterns import received_sets

DIGEST_BYTES = 16
Blob = bytes | bytearray | memoryview


def digest(blob: Blob) -> bytes:
    """Of a task's bytes: everybody who computes the task sends it along."""
    return blake2b(blob, digest_size=DIGEST_BYTES).digest()


class ByteCode(Protocol):
    """As a `Code`, for results that are bytes, all of one length."""

    workers: int
    tasks: int
    sent_bytes: int
    """The length of what each worker sends."""

    def tasks_of(self, worker: int) -> tuple[int, ...]:
        """The tasks whose results a worker needs."""

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        """What a worker sends, of the results of its tasks."""

    def decodable(self, received: Sequence[int]) -> bool:
        """Whether what these workers sent is enough."""

    def chosen(self, received: Sequence[int]) -> tuple[int, ...]:
        """Those of these workers whose results a decode makes use of. NotDecodable as below."""

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        """The results of all tasks. NotDecodable if what was sent is not enough."""


Form = Code | ByteCode
"""A code over numbers, or over bytes."""


def byte_code(code: Code, result_bytes: int) -> ByteCode:
    """The exact form of a code, for results of this length. CodeError if it has none."""
    if code.name == "mds" and code.workers > code.tasks:
        return ReedSolomon(code, result_bytes)
    if code.name in ("mds", "uncoded", "replication", "ldpc"):
        return ExclusiveOr(code, result_bytes)
    raise CodeError(
        f"{code.name} has no exact form, since its results are rounded sums; uncoded, replication,"
        " mds and ldpc have one"
    )


def check_exact(code: Code, stragglers: int) -> None:
    """Raise CodeError for a code that has no exact form, or none that tolerates so many."""
    form = byte_code(code, 1)

    def tolerates(late: int) -> bool:
        enough = late <= code.workers - code.tasks
        return enough and all(map(form.decodable, received_sets(code.workers, late)))

    if not tolerates(stragglers):
        most = next(late for late in reversed(range(stragglers)) if tolerates(late))
        raise CodeError(
            f"{code.name}: exactly, {code.workers} workers for {code.tasks} tasks can do without"
            f" any {most}, not {stragglers}; mds with workers={code.tasks + stragglers} can"
        )


class ReedSolomon:
    """Systematic, any M of N. What is sent is a result's length rounded up to whole `UNIT`s."""

    UNIT = 64
    MOST_WORKERS = 255

    def __init__(self, code: Code, result_bytes: int) -> None:
        if code.workers > self.MOST_WORKERS:
            raise CodeError(
                f"mds: exact is for up to {self.MOST_WORKERS} workers, not {code.workers}"
            )
        self.workers, self.tasks = int(code.workers), int(code.tasks)
        self.tasks_of = code.tasks_of
        self._result_bytes = result_bytes
        self.sent_bytes = -(-result_bytes // self.UNIT) * self.UNIT

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        if worker < self.tasks:
            return self._padded(results[worker])
        blocks = b"".join(self._padded(results[task]) for task in range(self.tasks))
        fragment = self._driver().encode(blocks)[worker]
        return memoryview(fragment)[len(fragment) - self.sent_bytes :]

    def decodable(self, received: Sequence[int]) -> bool:
        return len(set(received)) >= self.tasks

    def chosen(self, received: Sequence[int]) -> tuple[int, ...]:
        found = tuple(sorted(received)[: self.tasks])  # plain ones first
        if len(found) < self.tasks:
            raise NotDecodable(f"{len(found)} of {self.tasks} results")
        return found

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        chosen = self.chosen(list(received))
        end = self._result_bytes
        if chosen[-1] < self.tasks:
            return [received[worker][:end] for worker in chosen]
        heads = fragment_heads(self.tasks, self.workers - self.tasks, self.sent_bytes)
        fragments = [b"".join((heads[worker], received[worker])) for worker in chosen]
        blocks = memoryview(self._driver().decode(fragments))
        starts = range(0, len(blocks), self.sent_bytes)
        return [blocks[start : start + end] for start in starts]

    def _padded(self, blob: Blob) -> bytes:
        return bytes(blob).ljust(self.sent_bytes, b"\0")

    def _driver(self) -> Any:
        return driver(self.tasks, self.workers - self.tasks)


@lru_cache(maxsize=8)
def driver(blocks: int, parities: int) -> Any:
    """The library's coder: ISA-L's Cauchy matrix, of which any rows are enough."""
    from pyeclib.ec_iface import ECDriver

    return ECDriver(k=blocks, m=parities, ec_type="isa_l_rs_cauchy")


@lru_cache(maxsize=8)
def fragment_heads(blocks: int, parities: int, size: int) -> list[bytes]:
    """What the library writes before each fragment: the same for all data of one size, so it is
    not sent.
    """
    fragments = driver(blocks, parities).encode(bytes(blocks * size))
    return [fragment[: len(fragment) - size] for fragment in fragments]


class ExclusiveOr:
    """An assignment matrix of 0 and 1 over GF(2)."""

    def __init__(self, code: Code, result_bytes: int) -> None:
        self.workers, self.tasks = int(code.workers), int(code.tasks)
        self.tasks_of, self.sent_bytes = code.tasks_of, result_bytes
        self._rows = [sum(1 << task for task in self.tasks_of(w)) for w in range(code.workers)]
        """Bit i of worker j's: whether task i is in what it sends."""

    def encode(self, worker: int, results: Mapping[int, Blob]) -> Blob:
        return mixed(results[task] for task in self.tasks_of(worker))

    def decodable(self, received: Sequence[int]) -> bool:
        return self._solved(sorted(set(received))) is not None

    def chosen(self, received: Sequence[int]) -> tuple[int, ...]:
        order = sorted(set(received))
        used = reduce(or_, self._rows_of(order))
        return tuple(worker for place, worker in enumerate(order) if used >> place & 1)

    def decode(self, received: Mapping[int, Blob]) -> list[Blob]:
        order = sorted(received)
        return [
            mixed(received[worker] for place, worker in enumerate(order) if row >> place & 1)
            for row in self._rows_of(order)
        ]

    def _rows_of(self, order: Sequence[int]) -> list[int]:
        rows = self._solved(order)
        if rows is None:
            raise NotDecodable(f"the results of workers {order} are not enough")
        return rows

    def _solved(self, order: Sequence[int]) -> list[int] | None:
        """For every task which of some workers' results add up to it, as bits; None if they are not
        enough.
        """
        rows = [
            self._rows[worker] | 1 << (self.tasks + place) for place, worker in enumerate(order)
        ]
        solved: list[int] = []
        for task in range(self.tasks):
            pivot = next((row for row in rows if row >> task & 1), None)
            if pivot is None:
                return None
            rows.remove(pivot)
            rows, solved = (
                [row ^ pivot if row >> task & 1 else row for row in some] for some in (rows, solved)
            )
            solved.append(pivot)
        return [row >> self.tasks for row in solved]


def mixed(blobs: Iterable[Blob]) -> Blob:
    """Exclusive or of bytes of one length; a single one as it is."""
    first, *others = blobs
    if not others:
        return first
    total = np.frombuffer(first, dtype=np.uint8).copy()
    for other in others:
        total ^= np.frombuffer(other, dtype=np.uint8)
    return total.tobytes()

"""The memory that a coded pool and its workers share: the snapshot that all of them work from, and
what each sends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.exact import DIGEST_BYTES
from covey.platform.runtime import segment
from covey.platform.runtime.fence import fence
from covey.platform.runtime.layout import Field, Layout, integers
from covey.platform.runtime.segment import Memory, MemoryHandle
from covey.platform.runtime.weights_channel import check_alike


@dataclass(frozen=True)
class BoardSpec:
    """`snapshot`: of the arrays that are broadcast. Each of N workers sends `size_bytes`, and a
    digest of each of M tasks.
    """

    snapshot: Layout
    workers: int
    tasks: int
    size_bytes: int

    @property
    def layout(self) -> Layout:
        place = Field("even", "u1", (self.snapshot.size_bytes,))
        own = [
            Field(f"{name} {worker}", "u1", shape)
            for worker in range(self.workers)
            for name, shape in (
                ("sent", (self.size_bytes,)),
                ("digests", (self.tasks, DIGEST_BYTES)),
            )
        ]
        words = (Field("over", "i8", (1,)),)
        return Layout((*words, place, Field("odd", "u1", place.shape), *own))


@dataclass(frozen=True)
class BoardHandle:
    """Opens a board in another process, while the one that gave it holds it."""

    spec: BoardSpec
    memory: MemoryHandle

    def attach(self) -> "Board":
        """The board. SegmentGone if it is no longer held."""
        return Board(self.spec, segment.attach(self.memory))


class Board:
    """Snapshots take two places in turn: whoever is late may see the one after next while it works,
    but nobody waits for what it makes of it.
    """

    def __init__(self, spec: BoardSpec, memory: Memory) -> None:
        views = spec.layout.views(memory.buffer)
        self.spec, self._memory = spec, memory
        self._over = integers(views["over"])
        self._places = [spec.snapshot.views(views[name].data) for name in ("even", "odd")]
        self.sent: list[NDArray[np.uint8]] = [views[f"sent {w}"] for w in range(spec.workers)]
        """What each worker sends, as bytes."""
        self.digests: list[NDArray[np.uint8]] = [views[f"digests {w}"] for w in range(spec.workers)]
        """Of the tasks that each has computed [M, 16]; zeros for others."""

    @classmethod
    def create(cls, spec: BoardSpec) -> Self:
        """An empty one, to be shared."""
        board = cls(spec, segment.create("board", spec.layout.size_bytes, shared=True))
        board._over[0] = -1
        return board

    @property
    def handle(self) -> BoardHandle:
        """For others, good while this process holds the board."""
        return BoardHandle(self.spec, self._memory.handle)

    def publish(self, iteration: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Make these the snapshot of an iteration. ValueError if they are not like those the board
        was made for.
        """
        check_alike(self.spec.snapshot, arrays)
        for name, view in self._places[iteration % 2].items():
            view[...] = arrays[name]
        fence()

    def snapshot(self, iteration: int) -> dict[str, NDArray[Any]]:
        """That of an iteration, as views: not to be written to."""
        fence()
        return self._places[iteration % 2]

    @property
    def over(self) -> int:
        """Iterations up to this one need no more results."""
        return self._over[0]

    def end(self, iteration: int) -> None:
        """No more results are needed."""
        self._over[0] = iteration

    def close(self) -> None:
        """Let go of it."""
        self._memory.close()

"""Values laid down in a segment: written once, read by others of the machine where they lie.

A value becomes its pickle and, beside that, its large buffers (arrays), which are copied no further
than into the segment. Whoever opens one trusts who laid it down, as with every pickle.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from covey.platform.runtime.layout import ALIGNMENT, Buffer
from covey.platform.runtime.segment import Segment, SegmentHandle


@dataclass(frozen=True)
class Laid:
    """Where a value's pickle and its buffers lie, each at (offset, size in bytes)."""

    handle: SegmentHandle
    spans: Sequence[tuple[int, int]]

    def pieces(self, memory: Buffer) -> list[Buffer]:
        """They themselves, as views of the segment's memory."""
        return [memory[at : at + size] for at, size in self.spans]


def flattened(value: Any) -> list[Buffer]:
    """A value's pickle, then its buffers where they are: nothing else is copied."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, 5, buffer_callback=buffers.append)
    return [memoryview(content), *(buffer.raw() for buffer in buffers)]


def restored(pieces: Sequence[Buffer | bytearray]) -> Any:
    """The value; its arrays are views of the pieces, and can be written where those can."""
    return pickle.loads(pieces[0], buffers=pieces[1:])


def spread(pieces: Sequence[Buffer]) -> tuple[list[tuple[int, int]], int]:
    """A place for each piece, at a multiple of 64 bytes, and the size of it all."""
    sizes = [piece.nbytes for piece in pieces]
    *places, end = accumulate((-(-size // ALIGNMENT) * ALIGNMENT for size in sizes), initial=0)
    return list(zip(places, sizes, strict=True)), end


class SharedValue:
    """A value that many calls get. `number` tells it from others of its crew; its memory is freed
    when this is dropped and the workers have gone on to another one.
    """

    def __init__(self, number: int, value: Any) -> None:
        pieces = flattened(value)
        spans, end = spread(pieces)
        self._segment = Segment.create("shared", end)
        for (at, _), piece in zip(spans, pieces, strict=True):
            self._segment.put(piece, at)
        self.form = SharedForm(number, Laid(self._segment.handle, spans))

    @property
    def value(self) -> Any:
        """As the workers see it: arrays are read-only views."""
        return restored(self.form.laid.pieces(self._segment.buffer.toreadonly()))


@dataclass(frozen=True)
class SharedForm:
    """A shared value in a call's arguments, on the way to a worker."""

    number: int
    laid: Laid


class Shelf:
    """What a worker keeps of shared values: the newest, since many calls in a row get that one."""

    def __init__(self) -> None:
        self._newest: tuple[int, Any] = -1, None

    def opened(self, argument: Any) -> Any:
        """A shared value in the place of its form; anything else as it is."""
        if not isinstance(argument, SharedForm):
            return argument
        number, value = self._newest
        if number != argument.number:
            memory = Segment.attach(argument.laid.handle).buffer.toreadonly()
            value = restored(argument.laid.pieces(memory))
            self._newest = argument.number, value
        return value

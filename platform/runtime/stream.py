"""One sampler's stream of blocks to its reader: a ring of rows that are written in place.

A stream either waits for its reader (on-policy: no block is lost) or overwrites the oldest rows
(replay). Both lie in shared memory, or, for a sampler in the reader's own process, in plain memory.
From other nodes it is reached over a `relay`.
"""

from dataclasses import dataclass
from typing import Self

from covey.platform.runtime import segment
from covey.platform.runtime.ring import Ring
from covey.platform.runtime.segment import MemoryHandle
from covey.platform.runtime.stream_spec import StreamSpec as StreamSpec


@dataclass(frozen=True)
class StreamHandle:
    """Opens a stream in another process, while the one that gave it holds it.

    That of a stream that is not shared opens it in the same process, and cannot be pickled.
    """

    spec: StreamSpec
    memory: MemoryHandle

    def attach(self) -> "Stream":
        """The stream. SegmentGone if it is no longer held."""
        return Stream(self.spec, segment.attach(self.memory))


class Stream(Ring):
    """Both sides of a stream."""

    @classmethod
    def create(cls, spec: StreamSpec, shared: bool) -> Self:
        """An empty stream. UserError if the machine's memory is too small for it."""
        stream = cls(spec, segment.create("stream", spec.layout.size_bytes, shared))
        stream._reset_words()
        return stream

    @classmethod
    def attach(cls, handle: StreamHandle) -> "Stream":
        """The same stream for the other side. SegmentGone if it is no longer held."""
        return handle.attach()

    @property
    def handle(self) -> StreamHandle:
        """For the other side, good while this process holds the stream."""
        return StreamHandle(self.spec, self._memory.handle)

"""Short notes from one process to another of the same machine, in shared memory."""

import json
from typing import Any, Self

import numpy as np

from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.weights_channel import SharedWeights, WeightsHandle

ROOM = 2**16
"""Bytes of JSON in one note."""


class Notes:
    """Both ends: one process writes, another reads the newest note. Nothing waits."""

    def __init__(self, channel: SharedWeights) -> None:
        self._channel = channel
        self._read = -1

    @classmethod
    def create(cls) -> Self:
        """With no note yet."""
        return cls(SharedWeights.create(_text(b"")))

    @classmethod
    def attach(cls, handle: WeightsHandle) -> Self:
        """The other end. SegmentGone if nobody holds it any more."""
        return cls(handle.attach())

    @property
    def handle(self) -> WeightsHandle:
        """Opens the other end, while this process holds this one."""
        return self._channel.handle

    def write(self, note: Record) -> None:
        """Make this the newest one. ValueError if it is longer than `ROOM`."""
        text = json.dumps(note, default=float).encode()  # numpy's numbers among them
        if len(text) > ROOM:
            raise ValueError(f"a note of {len(text)} bytes; there is room for {ROOM}")
        self._channel.publish(_text(text))

    def read(self) -> Record | None:
        """The newest one; None if it has been read."""
        found = self._channel.read(self._read)
        if found is None:
            return None
        self._read = found.version
        length = int(found.arrays["length"][0])
        note: Record = json.loads(found.arrays["text"][:length].tobytes())
        return note

    def close(self) -> None:
        """Let go of the memory."""
        self._channel.close()


def _text(text: bytes) -> dict[str, Any]:
    room = np.zeros(ROOM, np.uint8)
    room[: len(text)] = np.frombuffer(text, np.uint8)
    return {"length": np.array([len(text)]), "text": room}

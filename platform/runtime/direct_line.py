"""Calls over a direct line between a job's process and one of its workers on the same machine.

A line is a socket in a private folder. What travels are pickles, so both sides trust each other:
only a job's own processes, which know its key, talk over one (`direct_door.py`); nothing listens on
a network. Large messages lie in memory that both sides see, where a socket would take ten times as
long, and only say so on the line.
"""

import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from typing import Any

from covey.platform.runtime.actor import Host
from covey.platform.runtime.laid import Laid, Shelf, flattened, restored, spread
from covey.platform.runtime.layout import Buffer
from covey.platform.runtime.segment import Segment, SegmentHandle

IN_BAND_BYTES = 32 * 2**10
"""Messages up to this size travel on the line itself: no slower, and most take no memory then."""
KEPT_BYTES = 64 * 2**20
"""A side's memory for messages is used again for the next one, unless it is larger than this."""
LINE_ENDS = (EOFError, OSError)
"""What the other side's end looks like, also in the middle of a message."""


class Line:
    """One end of a line. The two sides take turns, so the memory that a message lies in is free
    again when the answer to it has come; what travels on the line itself is so little that nobody
    waits for the other side to read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._out: Segment | None = None
        self._seen: tuple[SegmentHandle, Buffer] | None = None

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def pack(self, value: Any) -> bytes:
        """The next message. Raises what pickling raises: nothing has been sent then."""
        pieces = flattened(value)
        spans, end = spread(pieces)
        if end <= IN_BAND_BYTES:
            return pickle.dumps([bytearray(piece) for piece in pieces], 5)
        if self._out is None or not end <= self._out.size_bytes <= max(end, KEPT_BYTES):
            self._out = Segment.create("messages", end)
        for (at, _), piece in zip(spans, pieces, strict=True):
            self._out.put(piece, at)
        return pickle.dumps(Laid(self._out.handle, spans), 5)

    def send(self, message: bytes) -> None:
        """LINE_ENDS if the other side is gone."""
        self._connection.send_bytes(message)

    def receive(self) -> bytes:
        """Waits for the other side's next message; LINE_ENDS if it has ended."""
        return self._connection.recv_bytes()

    def unpack(self, message: bytes) -> Any:
        """The value in a message; its memory is the receiver's own."""
        found: list[bytearray] | Laid = pickle.loads(message)
        if isinstance(found, list):
            return restored(found)
        if self._seen is None or self._seen[0] != found.handle:
            self._seen = found.handle, Segment.attach(found.handle).buffer
        content, *buffers = found.pieces(self._seen[1])
        return restored([content, *map(bytearray, buffers)])


class LineHost(Host):
    """In a worker's process: answers calls over a line to its job's process, if that one is on the
    same machine. Where it is not, `call` is called from afar.
    """

    def __init__(self, factory: Callable[..., object], *arguments: Any) -> None:
        super().__init__(factory, *arguments)
        self._shelf = Shelf()

    def serve(self, path: str, key: bytes, number: int) -> bool:
        """Answer calls until the other side ends: an endless call, in the thread that it comes in.
        False at once if nobody is there.
        """
        try:
            connection = Client(path, "AF_UNIX", authkey=key)
        except (*LINE_ENDS, AuthenticationError):
            return False
        with connection:
            line = Line(connection)
            try:
                line.send(line.pack((number, os.getpid())))
                while True:
                    line.send(self._answer(line, line.receive()))
            except LINE_ENDS:
                return True

    def _answer(self, line: Line, order: bytes) -> bytes:
        """A message with a result, or else with an exception and where it comes from."""
        try:
            method, arguments = line.unpack(order)
            value = self.call(method, *map(self._shelf.opened, arguments))
            try:
                return line.pack((value, None, None))
            except Exception as error:
                raise TypeError(f"{method} returned what cannot be sent: {error}") from error
        except Exception as error:
            return line.pack((None, _sendable(error), traceback.format_exc()))


def _sendable(error: Exception) -> Exception:
    """The exception, or what it says if it cannot be pickled and opened again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

"""Where a job's workers on the same machine knock to get a direct line."""

import os
import secrets
import socket
import struct
import tempfile
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path

from covey.platform.runtime.direct_line import LINE_ENDS, Line

PATIENCE_S = 5.0
"""For who knocks and then says nothing: the caller waits meanwhile. A worker on a busy machine may
need some of it.
"""
QUEUE = 1024
"""Workers that may knock before the caller has time for them; others wait to be let in line."""


class Door:
    """A socket in a folder that only this user may enter, and a key: who does not know it is sent
    away.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="covey-")  # with mode 0700
        self.path = str(Path(self._folder.name) / "door")
        self.key = secrets.token_bytes(32)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(QUEUE)

    def fileno(self) -> int:
        """To wait until somebody knocks."""
        return self._socket.fileno()

    def admit(self) -> tuple[Line, int, int] | None:
        """The line to who has knocked, its number and its process's id; None for a stranger."""
        accepted, _ = self._socket.accept()
        with accepted:
            connection = Connection(os.dup(accepted.fileno()))
            try:
                _be_patient(accepted, PATIENCE_S)
                deliver_challenge(connection, self.key)
                answer_challenge(connection, self.key)
                line = Line(connection)
                number, pid = line.unpack(line.receive())
                _be_patient(accepted, 0.0)
            except (*LINE_ENDS, AuthenticationError):
                connection.close()
                return None
        return line, number, pid

    def close(self) -> None:
        self._socket.close()
        self._folder.cleanup()


def _be_patient(accepted: socket.socket, seconds: float) -> None:
    """Let reads and writes fail after so long, 0 for never. (`settimeout` would be for this object
    alone.)
    """
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

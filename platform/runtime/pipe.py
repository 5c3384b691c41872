"""Short messages between processes of one machine, waited for without looking again and again.

A pipe, like a segment, is opened by others through the `/proc` entry of a process that holds it.
Whoever holds it holds both its ends: nobody's death closes it for the others.
"""

import os
import select
import struct
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from covey.platform.errors import UserError
from covey.platform.runtime.segment import SegmentGone

FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK
"""Nobody waits in a read or a write: another reader may have been there first."""


@dataclass(frozen=True)
class PipeHandle:
    """Where another process of this user finds a pipe, while process `pid` holds it."""

    pid: int
    fd: int
    inode: int
    form: str

    def attach(self) -> "Pipe":
        """The pipe. SegmentGone if it is no longer held."""
        path = f"/proc/{self.pid}/fd/{self.fd}"
        gone = SegmentGone(f"process {self.pid} no longer holds its pipe ({path})")
        try:
            fd = os.open(path, FLAGS)
        except PermissionError as error:
            raise UserError(f"a pipe of another user's process: {error}") from error
        except OSError as error:
            raise gone from error
        if os.fstat(fd).st_ino != self.inode:
            os.close(fd)
            raise gone
        return Pipe(fd, self.form)


class Pipe:
    """Messages of one form (`struct`), at most 4,096 bytes: each arrives whole, in one reader."""

    def __init__(self, fd: int, form: str) -> None:
        self._fd, self._form = fd, struct.Struct(form)
        self._close = weakref.finalize(self, os.close, fd)
        self._waiting, self._room = select.poll(), select.poll()
        self._waiting.register(fd, select.POLLIN)
        self._room.register(fd, select.POLLOUT)

    @classmethod
    def create(cls, form: str) -> Self:
        """An empty one."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        fd = os.open(f"/proc/self/fd/{reading}", FLAGS)
        os.close(reading)
        os.close(writing)
        return cls(fd, form)

    @property
    def handle(self) -> PipeHandle:
        """For others, good while this process holds the pipe."""
        return PipeHandle(os.getpid(), self._fd, os.fstat(self._fd).st_ino, self._form.format)

    def fileno(self) -> int:
        """For those who wait for messages of several kinds at once."""
        return self._fd

    def send(self, *values: Any) -> None:
        """Put a message in; waits while 64 KiB of them are unread."""
        while not self._put(values):
            self._room.poll()

    def push(self, *values: Any) -> None:
        """Put a message in, and where there is no room take the oldest ones out: never waits."""
        while not self._put(values):
            self.receive(0.0)

    def _put(self, values: tuple[Any, ...]) -> bool:
        with suppress(BlockingIOError):
            os.write(self._fd, self._form.pack(*values))
            return True
        return False

    def receive(self, timeout_s: float) -> tuple[Any, ...] | None:
        """The next message; None if none comes in time, or somebody else takes it."""
        if self.waits(timeout_s):
            with suppress(BlockingIOError):
                return self._form.unpack(os.read(self._fd, self._form.size))
        return None

    def waits(self, timeout_s: float) -> bool:
        """Whether a message is there to be received, now or within so many seconds."""
        return bool(self._waiting.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        """Let go of it."""
        self._close()

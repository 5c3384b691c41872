"""Short messages between processes of one machine, waited for without looking again and again.

A pipe, like a segment, is opened by others through the `/proc` entry of a process that holds it.
Whoever holds it holds both its ends: nobody's death closes it for the others.
"""

import os
import select
import struct
import weakref
from dataclasses import dataclass
from typing import Any, Self

from covey.platform.errors import UserError
from covey.platform.runtime.segment import SegmentGone


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
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
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
        self._waiting = select.poll()
        self._waiting.register(fd, select.POLLIN)

    @classmethod
    def create(cls, form: str) -> Self:
        """An empty one."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        fd = os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_CLOEXEC)
        os.close(reading)
        os.close(writing)
        return cls(fd, form)

    @property
    def handle(self) -> PipeHandle:
        """For others, good while this process holds the pipe."""
        return PipeHandle(os.getpid(), self._fd, os.fstat(self._fd).st_ino, self._form.format)

    def send(self, *values: Any) -> None:
        """Put a message in; waits while 64 KiB of them are unread."""
        os.write(self._fd, self._form.pack(*values))

    def receive(self, timeout_s: float) -> tuple[Any, ...] | None:
        """The next message; None if none comes in time. One reader at a time."""
        if not self.waits(timeout_s):
            return None
        return self._form.unpack(os.read(self._fd, self._form.size))

    def waits(self, timeout_s: float) -> bool:
        """Whether a message is there to be received, now or within so many seconds."""
        return bool(self._waiting.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        """Let go of it."""
        self._close()

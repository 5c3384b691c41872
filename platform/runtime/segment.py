"""Memory that processes of one machine share, and its stand-in within a process.

A segment is an anonymous file: it has no name that could outlive a crash. Another process opens it
through the `/proc` entry of any process that holds it; the kernel frees it with its last holder.
(Python 3.11's `SharedMemory` has a name, and is unlinked as soon as any attached process exits.)
"""

import fcntl
import mmap
import os
import weakref
from dataclasses import dataclass
from typing import Self

from covey.platform.errors import UserError
from covey.platform.runtime.layout import Buffer


class SegmentGone(RuntimeError):
    """The process that held the segment has ended, or has closed it."""


@dataclass(frozen=True)
class SegmentHandle:
    """Where another process of this user finds a segment, while process `pid` holds it.

    A process id or file number may have been given away again: the inode tells.
    """

    pid: int
    fd: int
    inode: int
    size_bytes: int


class Segment:
    """Shared memory, zeros at first. Pages take room only once they are written."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._close_fd = weakref.finalize(self, os.close, fd)
        self._map: mmap.mmap | None = mmap.mmap(fd, size_bytes)
        self.size_bytes = size_bytes

    @classmethod
    def create(cls, name: str, size_bytes: int) -> Self:
        """A new one; `name` is only for people who read `/proc`."""
        fd = os.memfd_create(f"covey-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size_bytes)
        # Touching a page of a file that has been cut short kills the process.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        return cls(fd, size_bytes)

    @classmethod
    def attach(cls, handle: SegmentHandle) -> Self:
        """The same memory in this process. SegmentGone if the handle's process let go of it."""
        path = f"/proc/{handle.pid}/fd/{handle.fd}"
        gone = SegmentGone(f"process {handle.pid} no longer holds its shared memory ({path})")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError as error:
            raise UserError(f"shared memory of another user's process: {error}") from error
        except OSError as error:
            raise gone from error
        found = os.fstat(fd)
        if (found.st_ino, found.st_size) != (handle.inode, handle.size_bytes):
            os.close(fd)
            raise gone
        return cls(fd, handle.size_bytes)

    @property
    def handle(self) -> SegmentHandle:
        """For others, good while this process holds the segment."""
        return SegmentHandle(os.getpid(), self._fd, os.fstat(self._fd).st_ino, self.size_bytes)

    @property
    def buffer(self) -> Buffer:
        """All of its bytes, until it is closed."""
        assert self._map is not None
        return memoryview(self._map)

    def put(self, content: Buffer, at: int) -> None:
        """Copy bytes in. Where nothing was written yet this takes half the time of `buffer`: no
        page is zeroed first, or becomes part of this process.
        """
        while content:
            count = os.pwrite(self._fd, content, at)
            content, at = content[count:], at + count

    def close(self) -> None:
        """Let go of it. Arrays over it stay good: the memory goes with the last of them."""
        self._close_fd()
        # Not closed: a numpy array over it is no export that would keep it from that.
        self._map = None


class PrivateMemory:
    """The same for one process alone. It is its own handle, and cannot be pickled."""

    def __init__(self, size_bytes: int) -> None:
        # As in a segment, pages take room only once they are written.
        self._map = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    @property
    def handle(self) -> Self:
        return self

    @property
    def buffer(self) -> Buffer:
        return memoryview(self._map)

    def close(self) -> None:
        """Nothing to do: the memory goes with the last array over it."""


Memory = Segment | PrivateMemory
MemoryHandle = SegmentHandle | PrivateMemory


def create(name: str, size_bytes: int, shared: bool) -> Memory:
    """New memory, to be shared with other processes or not. UserError if it cannot fit."""
    check_fits(name, size_bytes)
    return Segment.create(name, size_bytes) if shared else PrivateMemory(size_bytes)


def attach(handle: MemoryHandle) -> Memory:
    """The memory behind a handle, for one more user."""
    return handle if isinstance(handle, PrivateMemory) else Segment.attach(handle)


def check_fits(name: str, size_bytes: int) -> None:
    """UserError if the machine has less memory than that."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size_bytes > memory:
        raise UserError(
            f"{name}: {size_bytes / 2**30:.1f} GiB of memory wanted, but this machine has"
            f" {memory / 2**30:.1f} GiB"
        )

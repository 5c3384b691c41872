"""Files that only grow. What a full disk refuses waits in memory until there is room again."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock


class Appender:
    """Appends whole records to one file; several threads may. `guard` is the fence round each
    write.
    """

    def __init__(self, path: Path, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._path = path
        self._guard = guard
        self._lock = Lock()
        self._waiting = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether records wait in memory."""
        return bool(self._waiting)

    def append(self, record: bytes) -> OSError | None:
        """Write what waited and then `record`. Returns why they wait, or None when the file has
        them.

        Raises Superseded when the folder belongs to a newer attempt.
        """
        with self._lock:
            self._waiting += record
            try:
                with self._guard():
                    self._write()
            except OSError as error:
                return error
            return None

    def _write(self) -> None:
        descriptor = self._open()
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, self._waiting)
                while written < len(self._waiting):  # a nearly full disk takes a part, then refuses
                    written += os.write(descriptor, memoryview(self._waiting)[written:])
            except OSError:
                os.ftruncate(descriptor, before)  # no half record stays
                raise
        finally:
            os.close(descriptor)
        self._waiting = bytearray()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            self._path.parent.mkdir(exist_ok=True)
            return os.open(self._path, flags, 0o644)


def end_at_last_line(path: Path) -> None:
    """Cut off a last line that a killed writer left unfinished, so that the next one starts
    clean.
    """
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65536)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                file.truncate(begin + found + 1)
                return
            end = begin
        file.truncate(0)

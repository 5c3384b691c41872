"""The fence round a run folder: only the newest attempt may write, and others can see that one is
alive.

Two locks, both `flock`, so the kernel drops them however a process dies: `.fence` is held
exclusively for the moment of a claim and shared for the moment of each write, so that no write of
an older attempt can land after a newer one has claimed. `.writer` is held shared for a whole
attempt; whoever could lock it exclusively knows that nobody on this machine is writing.
"""

import fcntl
import json
import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from covey.platform.errors import Superseded, UserError
from covey.platform.runs.durable import write_whole

CLAIM = "attempt.json"


class Fence:
    """An attempt's right to write into a run folder."""

    def __init__(self, path: Path, attempt: int, alive: int) -> None:
        self.path = path
        self.attempt = attempt
        # Closes the descriptor once and never again: its number may be another file's by then.
        self._release = weakref.finalize(self, os.close, alive)
        # A forked child (a vectorised environment's worker) shares the lock and could outlive us
        # with it.
        os.register_at_fork(after_in_child=self._release)

    @classmethod
    def claim(cls, path: Path, attempt: int | None) -> Self:
        """Make `attempt` (None: the next number) the only one that may write from now on.

        Raises Superseded when the folder has seen that number or a later one.
        """
        with _locked(path / ".fence", fcntl.LOCK_EX):
            newest = _claimed(path).attempt
            if attempt is None:
                attempt = newest + 1
            if attempt <= newest:
                raise Superseded(
                    f"{path}: attempt {attempt} comes after attempt {newest} has begun"
                )
            record = {"attempt": attempt, "pid": os.getpid(), "host": socket.gethostname()}
            write_whole(path / CLAIM, json.dumps(record).encode())
            alive = os.open(path / ".writer", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(alive, fcntl.LOCK_SH)
        return cls(path, attempt, alive)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write inside this: no newer attempt can begin meanwhile. Raises Superseded when one has.

        Keep it short: a newer attempt waits for it.
        """
        # A descriptor of its own each time: threads that shared one would drop each other's lock.
        with _locked(self.path / ".fence", fcntl.LOCK_SH):
            newest = _claimed(self.path).attempt
            if newest != self.attempt:
                raise Superseded(
                    f"{self.path} belongs to attempt {newest} now: attempt {self.attempt} ends"
                )
            yield

    def release(self) -> None:
        """Say that this attempt writes no more."""
        self._release()


def live_writer(path: Path) -> int | None:
    """The process that is writing into a run folder on this machine now; None when there is
    none.
    """
    try:
        descriptor = os.open(path / ".writer", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _claimed(path).pid
    finally:
        os.close(descriptor)
    return None


def newest_attempt(path: Path) -> int:
    """The newest attempt that a run folder has seen; 0 when it has seen none, or cannot tell."""
    try:
        return _claimed(path).attempt
    except (OSError, UserError):
        return 0


@dataclass(frozen=True)
class _Claim:
    attempt: int
    pid: int


def _claimed(path: Path) -> _Claim:
    try:
        content = (path / CLAIM).read_bytes()
    except FileNotFoundError:
        return _Claim(0, 0)
    try:
        return _parsed(content)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path / CLAIM} is damaged: delete it if no process writes there"
        ) from error


@lru_cache(maxsize=8)
def _parsed(content: bytes) -> _Claim:
    """Every write reads the same."""
    record = json.loads(content)
    return _Claim(int(record["attempt"]), int(record["pid"]))


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)

"""Which process is meant, beyond a number that the system gives out again."""

import socket
from dataclasses import dataclass

import psutil

_CLOCK_SLACK_S = 1.0
"""The start time is reckoned from the boot time, which moves a little when the clock is set."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process by host, id and start time (seconds since the epoch)."""

    host: str
    pid: int
    started_s: float


def identify(pid: int) -> ProcessIdentity:
    """The process of this machine that has that id now; psutil.NoSuchProcess when there is none."""
    return ProcessIdentity(socket.gethostname(), pid, psutil.Process(pid).create_time())


def is_dead(process: ProcessIdentity) -> bool:
    """True only when certain: one on another host may live. A zombie does nothing any more."""
    if process.host != socket.gethostname():
        return False
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started_s) <= _CLOCK_SLACK_S
        return not same or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

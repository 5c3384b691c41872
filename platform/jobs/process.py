"""Which process is meant, beyond a number that the system gives out again."""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

_CLOCK_SLACK_S = 1.0
"""The start time is reckoned from the boot time, which moves a little when the clock is set."""

_TERM_S = 15.0
"""For a process group to end in order before it is killed."""


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


def end_group(group: int, mark: str, reap: Callable[[], object]) -> None:
    """End all processes of a group, if one of its command lines holds `mark`: else it is not ours.

    `reap` is called while waiting, for a child of our own among them. group 0 is nobody's.
    """
    if group == 0:
        return
    found = members(group)
    if not any(mark in " ".join(_command_line(process)) for process in found):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in found:
            _send(process.pid, number)
        deadline_s = time.monotonic() + _TERM_S
        while (found := members(group)) and time.monotonic() < deadline_s:
            reap()
            time.sleep(0.1)
    reap()


def members(group: int) -> list[psutil.Process]:
    """The group's processes that are no zombies."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def with_argument(argument: str) -> list[int]:
    """The ids of processes with that very argument on their command line."""
    found = psutil.process_iter()
    return [process.pid for process in found if argument in _command_line(process)]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # gone, or somebody else's
        return []


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

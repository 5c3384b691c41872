"""A measured process: its answer, how long it took as a whole, and the most memory it held."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import psutil

from covey.platform.errors import UserError

LOOK_S = 0.1
HIGHER = 1.03
"""Memory is added up exactly when the quick sum is this much higher than it ever was."""


@dataclass(frozen=True)
class Metered:
    """What a process said on its last line, its seconds from start to end, and the peak of its
    tree's memory in MB (10^6 bytes), pages that several processes share counted once.
    """

    record: dict[str, Any]
    process_s: float
    peak_mb: float


class TreeMemory:
    """The peak of a process and all it has started, as far as `look` is called.

    Exact (proportional set sizes) costs the kernel a walk through all pages, so it is asked for
    only when the plain resident sizes, which count shared pages again and again, reach a new high.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._root = psutil.Process(pid)
        self._high = 0

    def look(self) -> None:
        """Take in what they hold now; who has ended holds nothing."""
        with suppress(psutil.Error):
            tree = [self._root, *self._root.children(recursive=True)]
            resident = sum(_resident(process.pid) for process in tree)
            if resident > HIGHER * self._high:
                self._high = resident
                held = sum(_proportional(process.pid) for process in tree) / 1e6
                self.peak_mb = max(self.peak_mb, held)


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _proportional(pid: int) -> int:
    """Bytes; a page that n processes have counts an nth for each."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def run_metered(
    name: str,
    command: Sequence[str],
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> Metered:
    """Run a command to its end. UserError if it fails, says nothing or takes longer.

    What it prints goes to files: a full pipe would stop it.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        began = perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=said,
            start_new_session=True,
            env=environment,
        )
        memory = TreeMemory(process.pid)
        try:
            until = monotonic() + limit_s
            while not _ended(process):
                if monotonic() > until:
                    raise UserError(f"{name}: not done after {limit_s:.0f} s")
                memory.look()
            seconds = perf_counter() - began
        finally:
            if process.poll() is None:
                _end_tree(process)
        lines = _lines(printed)
        if process.returncode or not lines:
            reason = _lines(said) or [f"status {process.returncode}"]
            raise UserError(f"{name} failed: {reason[-1].strip()}")
    return Metered(json.loads(lines[-1]), seconds, memory.peak_mb)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(LOOK_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started, in whatever session."""
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(file: Any) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").strip().splitlines()  # type: ignore[no-any-return]

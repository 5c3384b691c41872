"""How busy the machine's GPUs are, asked of `nvidia-smi` without waiting for it."""

import math
import shutil
import subprocess
import time

QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class GpuLoad:
    """Call it as often as you like: the mean utilisation in percent over all GPUs, some seconds
    old; None where that is not known yet, or there is no GPU.

    `nvidia-smi` takes up to a second, so a call only starts it, at most every `every_s` seconds,
    and a later one reads what it said.
    """

    def __init__(self, command: str = "nvidia-smi", every_s: float = 5.0) -> None:
        self._command = shutil.which(command)
        self._every_s, self._asked_s = every_s, -math.inf
        self._asked: subprocess.Popen[str] | None = None
        self._percent: float | None = None

    def __call__(self) -> float | None:
        if self._command is None:
            return None
        if self._asked is not None:
            if self._asked.poll() is None:  # still at it
                return self._percent
            self._percent = mean_percent(self._asked.communicate()[0])
            self._asked = None
        if time.monotonic() < self._asked_s + self._every_s:
            return self._percent
        self._asked_s = time.monotonic()
        self._asked = subprocess.Popen(
            [self._command, *QUERY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._percent


def mean_percent(answer: str) -> float | None:
    """Of one number a line; None when there is none, as where the driver does not answer."""
    found = [float(line) for line in answer.split() if line.isdecimal()]
    return sum(found) / len(found) if found else None

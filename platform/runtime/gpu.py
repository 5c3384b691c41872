"""How busy the machine's GPUs are, asked of `nvidia-smi` without waiting for it."""

import shutil
import subprocess

QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class GpuLoad:
    """Call it every few seconds: the mean utilisation in percent over all GPUs, as of the call
    before; None where that is not known yet, or there is no GPU.

    `nvidia-smi` takes up to a second, so each call only starts it and reads the one before.
    """

    def __init__(self, command: str = "nvidia-smi") -> None:
        self._command = shutil.which(command)
        self._asked: subprocess.Popen[str] | None = None
        self._percent: float | None = None

    def __call__(self) -> float | None:
        if self._command is None:
            return None
        if self._asked is not None:
            if self._asked.poll() is None:  # still at it
                return self._percent
            self._percent = mean_percent(self._asked.communicate()[0])
        self._asked = subprocess.Popen(
            [self._command, *QUERY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._percent

    def close(self) -> None:
        """End a query that is under way."""
        if self._asked is not None:
            self._asked.kill()
            self._asked.communicate()
            self._asked = None


def mean_percent(answer: str) -> float | None:
    """Of one number a line; None when there is none, as where the driver does not answer."""
    found = [float(line) for line in answer.split() if line.isdecimal()]
    return sum(found) / len(found) if found else None

"""Something that workers can be made around, to call it in every way."""

import os
import threading
import time
from pathlib import Path

import numpy as np


class Odd(Exception):
    """Cannot be opened again: its arguments are not what it was made with."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Desk:
    """Something to call."""

    def __init__(self, gate=None):
        if gate is not None:
            gate.wait()
        self.kept, self.seen = None, []

    def note(self, *values):
        self.seen.append(values)
        return len(self.seen)

    def look(self, arrays):
        """What the arrays are like, and whether they are those of the call before."""
        before, self.kept = self.kept, arrays
        writeable = [array.flags.writeable for array in arrays]
        again = before is not None and np.shares_memory(before[0], arrays[0])
        return writeable, again, [float(array.sum()) for array in arrays]

    def double(self, array):
        array *= 2  # it is the worker's own
        return array

    def fail(self, error):
        raise error

    def odd(self):
        raise Odd("ebb", "flow")

    def lock(self):
        return threading.Lock()

    def process(self):
        return os.getpid()

    def sleep(self, seconds):
        time.sleep(seconds)

    def resident_bytes(self):
        return resident_bytes()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

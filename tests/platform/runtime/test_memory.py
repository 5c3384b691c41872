"""Freed memory is used again."""

import subprocess
import sys

SCRIPT = """
import resource
import numpy as np
from covey.platform.runtime.memory import keep_freed_memory

def faults():
    for _ in range(3):
        np.ones(500_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(500_000), np.ones(500_000)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(faults())
"""


def faults(script):
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return int(asked.stdout)


def test_arrays_that_are_made_over_and_over_take_no_new_pages():
    assert faults(SCRIPT) < 2500 < 10_000 < faults(SCRIPT.replace("\nkeep_freed_memory()\n", "\n"))

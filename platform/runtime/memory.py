"""How a process deals with memory that it frees."""

import ctypes
from contextlib import suppress

LARGEST_MMAP_THRESHOLD = 32 << 20
"""The most that glibc takes."""
TRIM_THRESHOLD = 1 << 30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Use freed memory again instead of giving it back at once: a worker that makes and frees the
    same arrays over and over would spend a third of its time on pages that the system has zeroed.

    For glibc; elsewhere nothing changes.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)

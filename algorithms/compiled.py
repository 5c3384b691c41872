"""Compiled loops: numba, with the machine code kept beside the source from one process to the next.

For what numpy and torch can only do in several passes or with a Python call per item. Importing
this costs half a second, so only those who train do.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """The same function as machine code, on arrays and numbers alone; it runs without Python's
    global lock. Division by zero gives infinity, as in numpy.
    """
    try:
        kept = njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # nowhere to keep the machine code: compiled anew in each process
        kept = njit(function, nogil=True, error_model="numpy")
    return cast(Function, kept)

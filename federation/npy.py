"""Read a `.npy` file from its bytes; its header is checked before memory is taken for its numbers.

numpy's own reader takes the memory that a header asks for before it finds out what is there.
"""

import math
import re
from io import BytesIO
from mmap import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

Content = bytes | mmap
"""What came over a wire, or a file mapped into memory: then the numbers stay in the file."""

HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)"
    rb"\{'descr': '([<>|=][biufc]\d+)', 'fortran_order': (True|False),"
    rb" 'shape': \(([\d, ]*)\), \} *\n",
    re.DOTALL,
)
"""As numpy writes it for numbers: four times as fast to read as by numpy's own parser."""


def parse_npy(content: Content) -> NDArray[Any]:
    """The numbers in a `.npy` file, without a copy and read-only. ValueError where the size of the
    content is not the one that its header claims, and for objects.
    """
    found = HEADER.match(content)
    if found is None:
        return _parse_slowly(content)
    length, kind, fortran, shape = found.groups()
    start = 10 + int.from_bytes(length, "little")
    if start < found.end():
        raise ValueError("a .npy header longer than it says")
    sizes = tuple(int(size) for size in shape.replace(b" ", b"").split(b",") if size)
    return _numbers(content, start, np.dtype(kind.decode()), sizes, fortran == b"True")


def _parse_slowly(content: Content) -> NDArray[Any]:
    """For text, times, structures, and files that somebody else's program has written."""
    file = content if isinstance(content, mmap) else BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"a .npy file of version {version}; 1.0 and 2.0 are known")
    shape, fortran, kind = read(file)
    return _numbers(content, file.tell(), kind, shape, fortran)


def _numbers(
    content: Content, start: int, kind: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> NDArray[Any]:
    if kind.hasobject:
        raise ValueError("an array of Python objects")
    size = math.prod(shape) * kind.itemsize
    if size != len(content) - start:
        raise ValueError(
            f"an array of {list(shape)} {kind} has {size:,} bytes, {len(content) - start:,} came"
        )
    flat = np.frombuffer(content, kind, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")

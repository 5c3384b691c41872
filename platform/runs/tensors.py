"""Named arrays in safetensors files, written without a copy of them in memory."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]

_NAMES = {
    "bool": "BOOL",
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}


def check_arrays(arrays: Arrays) -> None:
    """Raises ValueError for an array that the format has no type for (objects, text, dates)."""
    for name, array in arrays.items():
        if array.dtype.name not in _NAMES:
            raise ValueError(
                f"array {name!r} of type {array.dtype} cannot be kept: use numbers or bool"
            )


def encode_arrays(arrays: Arrays) -> Iterator[memoryview]:
    """A safetensors file piece by piece; the same arrays always give the same bytes.

    Written here and not by the library's `save`, which copies everything twice while it holds the
    interpreter's lock, so that training would stand still.
    """
    # Widest type first keeps every array aligned to its own width.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, object] = {}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        kind = _NAMES[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(struct.pack("<Q", len(text)) + text)
    for _, array in ordered:
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        yield little.reshape(-1).view(np.uint8).data


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of a safetensors file. Raises ValueError when it is not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, NDArray[np.generic]] = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"no safetensors file: {error}") from error
    return arrays


def check_file(path: Path) -> None:
    """Raises ValueError unless a safetensors file's header is sound; reads no more than the
    header.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"no safetensors file: {error}") from error

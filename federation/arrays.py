"""Flower's global arrays as a safetensors part and back, byte for byte.

Flower carries an array as the bytes of a `.npy` file. Most are plain numbers; the others
(big-endian, text, Fortran order, another serialisation) are kept in their own bytes beside.
"""

import base64
import json
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from covey.federation.flower_internals import array_from_bytes, array_to_bytes
from covey.platform.runs.tensors import check_arrays

RESERVED = "__metadata__"  # safetensors keeps this name for itself


def save_arrays(record: ArrayRecord) -> tuple[dict[str, NDArray[np.generic]], bytes]:
    """What safetensors can hold of the arrays, and JSON: all names in order, and the rest."""
    arrays: dict[str, NDArray[np.generic]] = {}
    exact: dict[str, str] = {}
    for name, array in record.items():
        numbers = None if name == RESERVED else _numbers(array)
        if numbers is not None:
            arrays[name] = numbers
        if numbers is None or not _says_all(numbers, array):
            exact[name] = base64.b64encode(array_to_bytes(array)).decode()
    return arrays, json.dumps({"names": list(record), "exact": exact}).encode()


def load_arrays(arrays: Mapping[str, NDArray[np.generic]], order: bytes) -> ArrayRecord:
    """The record that `save_arrays` was given, byte for byte and in the same order."""
    document = json.loads(order)
    record = ArrayRecord()
    for name in document["names"]:
        if name in document["exact"]:
            record[name] = array_from_bytes(base64.b64decode(document["exact"][name]))
        else:
            record[name] = Array(np.asarray(arrays[name]))
    return record


def is_plain(array: Array) -> bool:
    """Whether numpy's numbers say all about an array: `Array(array.numpy())` has the same bytes."""
    numbers = _numbers(array)
    return numbers is not None and _says_all(numbers, array)


def _numbers(array: Array) -> NDArray[np.generic] | None:
    """What safetensors can hold of an array, None when that is nothing."""
    try:
        numbers = array.numpy()
        check_arrays({"array": numbers})
    except (TypeError, ValueError):
        return None
    return numbers


def _says_all(numbers: NDArray[np.generic], array: Array) -> bool:
    twin = Array(numbers)
    return (twin.data, twin.dtype, twin.shape) == (array.data, array.dtype, tuple(array.shape))

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
        if name == RESERVED or not is_plain(array):
            exact[name] = base64.b64encode(array_to_bytes(array)).decode()
        if name != RESERVED and _has_numbers(array):
            arrays[name] = array.numpy()
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


def _has_numbers(array: Array) -> bool:
    try:
        check_arrays({"array": array.numpy()})
    except (TypeError, ValueError):
        return False
    return True


def is_plain(array: Array) -> bool:
    """Whether numpy's numbers say all about an array: `Array(array.numpy())` has the same bytes."""
    try:
        numbers = array.numpy()
        check_arrays({"array": numbers})
    except (TypeError, ValueError):
        return False
    twin = Array(numbers)
    return (twin.data, twin.dtype, twin.shape) == (array.data, array.dtype, tuple(array.shape))

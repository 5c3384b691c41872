"""Whether a client's reply would spoil the model: wrong shapes, numbers that are none.

An update that is only too large is for a robust strategy to survive: nobody else knows what large
is.
"""

import math
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from numpy.typing import NDArray

from covey.federation.numpy_array import NUMPY, NumpyArray, checked


def why_refused(sent: RecordDict, reply: RecordDict, weight: str) -> str | None:
    """One line that names what is wrong with a reply; None if nothing is.

    Its arrays must be finite. A record that has the keys of the one that was sent under the same
    name must have its shapes too, and dtypes that can take its place (float16 for float32, int64
    for float64; not float32 for int64). The metric `weight`, by which strategies weigh clients,
    must be finite and not negative.
    """
    for name, record in reply.array_records.items():
        asked = sent.get(name)
        twin = asked if isinstance(asked, ArrayRecord) and asked.keys() == record.keys() else {}
        for key, array in record.items():
            if reason := _wrong(array, twin.get(key)):
                return f"array {key} of {name} {reason}"
    for metrics in reply.metric_records.values():
        value = metrics.get(weight)
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            return f"metric {weight} is {value}"
    return None


def _wrong(array: Array, sent: Array | None) -> str | None:
    try:
        numbers = _numbers(array)
    except ValueError as error:
        return f"cannot be read: {error}"
    if sent is not None and tuple(array.shape) != tuple(sent.shape):
        return f"has shape {list(array.shape)}, sent was {list(sent.shape)}"
    if sent is not None and not _fits(array.dtype, sent.dtype):
        return f"is {array.dtype}, sent was {sent.dtype}"
    if numbers is not None and not _is_finite(numbers):
        return "holds numbers that are not finite"
    return None


def _numbers(array: Array) -> NDArray[Any] | None:
    """The numbers, without a copy; None for a serialisation that is the app's own."""
    if not isinstance(array, NumpyArray):
        array = checked(array)
    return array.numbers if isinstance(array, NumpyArray) and array.stype == NUMPY else None


def _fits(found: str, sent: str) -> bool:
    """Flower's average turns whole numbers into float64, which clients answer with whole ones."""
    if found == sent:
        return True
    try:
        return bool(np.can_cast(np.dtype(found), np.dtype(sent), "same_kind"))
    except TypeError:  # names of another serialisation
        return False


def _is_finite(numbers: NDArray[Any]) -> bool:
    if numbers.dtype.kind not in "fc":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = numbers.sum()  # four times as fast as a look at each; it may overflow, though
    return bool(np.isfinite(total) or np.isfinite(numbers).all())

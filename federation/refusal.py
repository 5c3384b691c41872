"""Whether a client's reply would spoil the model: wrong shapes, numbers that are none.

An update that is only too large is for a robust strategy to survive: nobody else knows what large
is.
"""

import math
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from numpy.typing import NDArray

from covey.federation.numpy_array import NUMPY, NumpyArray, checked
from covey.federation.records import entries_of, records_in
from covey.federation.reply_form import why_other
from covey.federation.wants import Wants

MOST = 2.0**63
"""No client has so many samples, and the sum of a few such weights would not be finite."""


def why_refused(sent: RecordDict, reply: RecordDict, wants: Wants) -> str | None:
    """One line that names what is wrong with a reply; None if nothing is.

    Its arrays must be finite. A record that has the keys of the one that was sent under the same
    name must have its shapes too, and dtypes that can take its place (float16 for float32, int64
    for float64; not float32 for int64). The metric by which strategies weigh clients must be finite
    and not negative. Whether it has the form of the round's other replies is `reply_form.py`'s
    question.
    """
    for name, record in entries_of(reply).items():
        if not isinstance(record, ArrayRecord):
            continue
        arrays, asked = entries_of(record), entries_of(sent).get(name)
        twin = entries_of(asked) if isinstance(asked, ArrayRecord) else {}
        twin = twin if twin.keys() == arrays.keys() else {}
        for key, array in arrays.items():
            if reason := _wrong(array, twin.get(key), wants.shapes):
                return f"array {key} of {name} {reason}"
    if reason := _wrong_weight(reply, wants):
        return reason
    if wants.arrays is not None and (reason := why_other(sent, reply, wants.arrays)):
        return reason
    return _not_positive(reply, wants.positive)


def _wrong_weight(reply: RecordDict, wants: Wants) -> str | None:
    for metrics in records_in(reply, MetricRecord):
        value = entries_of(metrics).get(wants.weight)
        if isinstance(value, int | float) and not 0 <= value < MOST:
            return f"metric {wants.weight} is {value}"
    return None


def _not_positive(reply: RecordDict, names: tuple[str, ...]) -> str | None:
    for name in names:
        for metrics in reply.metric_records.values():
            value = metrics.get(name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                return f"metric {name} is {value}, a number above 0 is needed"
    return None


def _wrong(array: Array, sent: Array | None, shapes: bool) -> str | None:
    try:
        numbers = _numbers(array)
    except ValueError as error:
        return f"cannot be read: {error}"
    if shapes and sent is not None and tuple(array.shape) != tuple(sent.shape):
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
    # A product takes half the time of a look at each; it may overflow, though.
    flat = numbers.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.dot(flat, flat)
    return bool(np.isfinite(square) or np.isfinite(flat).all())

"""How many bytes a message's records are in Flower's wire form, without writing them.

The definition, for us and for peers: each array's bytes (those of a `.npy` file: its numbers and a
header of 128 bytes), 8 bytes a number in metrics and configs, texts and bytes by their length, and
the length of every name. Left out: the message's own metadata and protobuf's tags, about 20 bytes
an array and 2 a number.
"""

from collections.abc import Iterable

from flwr.app import Array, ArrayRecord, RecordDict

from covey.federation.numpy_array import NumpyArray
from covey.federation.records import entries_of

NUMBER_BYTES = 8
HEADER_BYTES = 128
"""What numpy writes before an array's numbers, unless it has more than about 6 dimensions."""


def payload_bytes(records: RecordDict) -> int:
    """The size of all records, names included."""
    size = 0
    for name, record in entries_of(records).items():
        size += len(name)
        bytes_of = _array_bytes if isinstance(record, ArrayRecord) else _value_bytes
        for key, value in entries_of(record).items():
            size += len(key) + bytes_of(value)
    return size


def _array_bytes(array: Array) -> int:
    if isinstance(array, NumpyArray):
        return HEADER_BYTES + array.numbers.nbytes
    return len(array.data)


def _value_bytes(value: object) -> int:
    if isinstance(value, int | float):
        return NUMBER_BYTES
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Iterable):
        return sum(map(_value_bytes, value))
    return NUMBER_BYTES

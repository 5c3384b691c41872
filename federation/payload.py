"""How many bytes a message's records are in Flower's wire form, without writing them.

The definition, for us and for peers: each array's bytes (those of a `.npy` file: its numbers and a
header of 128 bytes), 8 bytes a number in metrics and configs, texts and bytes by their length, and
the length of every name. Left out: the message's own metadata and protobuf's tags, about 20 bytes
an array and 2 a number.
"""

from collections.abc import Iterable

from flwr.app import Array, ArrayRecord, RecordDict

from covey.federation.numpy_array import NumpyArray

NUMBER_BYTES = 8
HEADER_BYTES = 128
"""What numpy writes before an array's numbers, unless it has more than about 6 dimensions."""


def payload_bytes(records: RecordDict) -> int:
    """The size of all records, names included."""
    size = 0
    for name, record in records.items():
        size += len(name)
        if isinstance(record, ArrayRecord):
            size += sum(len(key) + _array_bytes(array) for key, array in record.items())
        else:
            size += sum(len(key) + _value_bytes(value) for key, value in record.items())
    return size


def _array_bytes(array: Array) -> int:
    if isinstance(array, NumpyArray):
        return HEADER_BYTES + array.numbers.nbytes
    return len(array.data)


def _value_bytes(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Iterable):
        return sum(map(_value_bytes, value))
    return NUMBER_BYTES

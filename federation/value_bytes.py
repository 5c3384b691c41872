"""Values that have a form in bytes of their own: records, generators, odd floats and arrays."""

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ConfigRecord, MetricRecord, RecordDict

from covey.federation.flower_internals import (
    array_from_bytes,
    array_to_bytes,
    records_from_bytes,
    records_to_bytes,
)
from covey.federation.numpy_array import NumpyArray
from covey.federation.records import Records

BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class Unsaveable(Exception):
    """A value of a kind that has no form on disk."""


def to_bytes(value: Any) -> tuple[str, bytes]:
    """The name of a value's kind and its bytes, for `from_bytes`; raises Unsaveable."""
    kind = type(value)
    if kind is bytes:
        return "bytes", value
    if kind is float:  # nan, inf and -inf, which JSON has no words for
        return "float", str(value).encode()
    if is_flowers(value, RecordDict):
        return "RecordDict", records_to_bytes(value)
    if is_flowers(value, MetricRecord) or is_flowers(value, ConfigRecord):
        return "record", records_to_bytes(RecordDict({"record": value}))
    if is_flowers(value, Array):
        return "Array bytes", array_to_bytes(value)
    if kind is random.Random:
        return "Random", json.dumps(value.getstate()).encode()
    if isinstance(value, np.random.BitGenerator) and kind.__name__ in BIT_GENERATORS:
        return "BitGenerator", json.dumps(value.state, default=_plain_array).encode()
    if kind is torch.Generator and value.device.type == "cpu":
        return "torch.Generator", value.get_state().numpy().tobytes()
    raise Unsaveable(kind.__name__)


def from_bytes(kind: str, content: bytes) -> Any:
    """The value that `to_bytes` was given."""
    return _FROM_BYTES[kind](content)


def is_flowers(value: Any, kind: type) -> bool:
    """Whether a value is of this kind of Flower's, or of the older name that it keeps for it.

    So are arrays and records of ours. An app's own subclass is not: nothing is known of what it
    holds beside.
    """
    own = type(value) in (kind, NumpyArray, Records) or type(value).__module__.startswith("flwr.")
    return own and isinstance(value, kind)


def _plain_array(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    raise Unsaveable(type(value).__name__)


def _python_generator(content: bytes) -> random.Random:
    version, words, gauss = json.loads(content)
    generator = random.Random()
    generator.setstate((version, tuple(words), gauss))
    return generator


def _bit_generator(content: bytes) -> np.random.BitGenerator:
    def arrays(node: dict[str, Any]) -> Any:
        return np.array(node["array"], node["dtype"]) if "dtype" in node else node

    state = json.loads(content, object_hook=arrays)
    if state["bit_generator"] not in BIT_GENERATORS:
        raise ValueError(f"numpy has no generator {state['bit_generator']}")
    bit_generator: np.random.BitGenerator = getattr(np.random, state["bit_generator"])()
    bit_generator.state = state
    return bit_generator


def _torch_generator(content: bytes) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return generator


_FROM_BYTES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "float": float,
    "RecordDict": records_from_bytes,
    "record": lambda content: records_from_bytes(content)["record"],
    "Array bytes": array_from_bytes,
    "Random": _python_generator,
    "BitGenerator": _bit_generator,
    "torch.Generator": _torch_generator,
}

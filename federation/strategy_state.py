"""A strategy's state as JSON and arrays, and back into a strategy that the app has built anew.

What is saved is every attribute: numbers, text, lists, dicts, numpy arrays, tensors, Flower's
records, random generators, and the strategies inside a wrapping one. Code (functions, classes,
modules, loggers) is left to the app, which brings it again. Anything else cannot be saved, and its
name is told.
"""

import base64
import json
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from covey.federation.arrays import is_plain
from covey.federation.flower_internals import (
    array_from_bytes,
    array_to_bytes,
    records_from_bytes,
    records_to_bytes,
)
from covey.platform.runs.tensors import check_arrays

CODE = (FunctionType, BuiltinFunctionType, MethodType, type, ModuleType, logging.Logger, partial)
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class Unsaveable(Exception):
    """A value of a kind that has no form on disk."""


@dataclass
class SavedStrategy:
    """`tree` is JSON and refers to `arrays` by name.

    `left_out` names the attributes that were not saved.
    """

    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    tree: bytes = b"{}"


def save_strategy(strategy: Strategy) -> SavedStrategy:
    """The state of a strategy and of those it wraps. The arrays are copies."""
    saved = SavedStrategy()
    saved.tree = json.dumps(_save_attributes(strategy, "", saved, (id(strategy),))).encode()
    return saved


def restore_strategy(
    strategy: Strategy, tree: bytes, arrays: Mapping[str, NDArray[np.generic]]
) -> None:
    """Set the saved attributes on a strategy that the app has just built.

    The others stay as they are.
    """
    _restore_attributes(strategy, json.loads(tree), arrays)


def _save_attributes(
    strategy: Strategy, prefix: str, saved: SavedStrategy, above: tuple[int, ...]
) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in vars(strategy).items():
        path = prefix + name
        if isinstance(value, Strategy):
            if id(value) not in above:  # a strategy may know the one around it
                inner = _save_attributes(value, f"{path}.", saved, (*above, id(value)))
                tree[name] = {"is": "strategy", "attributes": inner}
        elif not isinstance(value, CODE):
            try:
                tree[name] = _save(value, path, saved)
            except Unsaveable as error:
                saved.left_out.append(f"{path} ({error})")
    return tree


def _restore_attributes(
    strategy: Strategy, tree: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    for name, node in tree.items():
        if isinstance(node, dict) and node["is"] == "strategy":
            inner = getattr(strategy, name, None)
            if isinstance(inner, Strategy):
                _restore_attributes(inner, node["attributes"], arrays)
        else:
            setattr(strategy, name, _load(node, arrays))


def _save(value: Any, path: str, saved: SavedStrategy) -> Any:
    """A value as JSON: plain ones as they are, others as an object whose `is` names their kind."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [_save(item, f"{path}.{number}", saved) for number, item in enumerate(value)]
    if kind is dict:
        items = [
            [_save(key, path, saved), _save(item, f"{path}.{key}", saved)]
            for key, item in value.items()
        ]
        return {"is": "dict", "items": items}
    if kind in (tuple, set, frozenset):
        return {"is": kind.__name__, "items": _save(list(value), path, saved)}
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return _save_array(value, path, saved)
    if isinstance(value, ArrayRecord):
        items = [[name, _save(array, f"{path}.{name}", saved)] for name, array in value.items()]
        return {"is": "ArrayRecord", "items": items}
    if isinstance(value, Array):
        return _save_flower_array(value, path, saved)
    name = "torch.Generator" if isinstance(value, torch.Generator) else kind.__name__
    return {"is": name, "bytes": base64.b64encode(_to_bytes(value)).decode()}


def _to_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is float:  # nan, inf and -inf, which JSON has no words for
        return str(value).encode()
    if type(value) is RecordDict:
        return records_to_bytes(value)
    if isinstance(value, MetricRecord | ConfigRecord):
        return records_to_bytes(RecordDict({"record": value}))
    if type(value) is random.Random:
        return json.dumps(value.getstate()).encode()
    if type(value) is np.random.Generator:
        return json.dumps(value.bit_generator.state, default=_plain_array).encode()
    if type(value) is torch.Generator and value.device.type == "cpu":
        return value.get_state().numpy().tobytes()
    raise Unsaveable(type(value).__name__)


def _plain_array(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.name}
    raise Unsaveable(type(value).__name__)


def _save_array(value: Any, path: str, saved: SavedStrategy) -> dict[str, Any]:
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    if kind == "tensor":
        try:
            value = value.detach().cpu().numpy()
        except (TypeError, RuntimeError) as error:  # bfloat16 and sparse tensors
            raise Unsaveable(f"tensor: {error}") from error
    node = {"is": kind if isinstance(value, np.ndarray) else "scalar", "name": path}
    if isinstance(value, np.ndarray) and value.flags.f_contiguous and not value.flags.c_contiguous:
        node["order"] = "F"
    array = np.array(value, order="C")
    try:
        check_arrays({path: array})
    except ValueError:
        raise Unsaveable(f"array of {array.dtype}") from None
    while node["name"] in saved.arrays:  # two dict keys of one spelling, such as 1 and "1"
        node["name"] += "'"
    saved.arrays[node["name"]] = array
    return node


def _save_flower_array(value: Array, path: str, saved: SavedStrategy) -> dict[str, Any]:
    if is_plain(value):
        return {"is": "Array", "array": _save_array(value.numpy(), path, saved)}
    return {"is": "odd Array", "bytes": base64.b64encode(array_to_bytes(value)).decode()}


def _load(node: Any, arrays: Mapping[str, NDArray[np.generic]]) -> Any:
    if isinstance(node, list):
        return [_load(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node["is"]
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](_load(node["items"], arrays))
    if kind in ("array", "scalar", "tensor"):
        array = np.array(arrays[node["name"]], order=node.get("order", "C"))
        if kind == "tensor":
            return torch.from_numpy(array)
        return array[()] if kind == "scalar" else array
    if kind == "Array":
        return Array(_load(node["array"], arrays))
    return _FROM_BYTES[kind](base64.b64decode(node["bytes"]))


def _python_generator(content: bytes) -> random.Random:
    version, words, gauss = json.loads(content)
    generator = random.Random()
    generator.setstate((version, tuple(words), gauss))
    return generator


def _numpy_generator(content: bytes) -> np.random.Generator:
    def arrays(node: dict[str, Any]) -> Any:
        return np.array(node["array"], node["dtype"]) if "dtype" in node else node

    state = json.loads(content, object_hook=arrays)
    if state["bit_generator"] not in BIT_GENERATORS:
        raise ValueError(f"numpy has no generator {state['bit_generator']}")
    bit_generator = getattr(np.random, state["bit_generator"])()
    bit_generator.state = state
    return np.random.Generator(bit_generator)


def _torch_generator(content: bytes) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return generator


def _record(content: bytes) -> Any:
    return records_from_bytes(content)["record"]


_COLLECTIONS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "ArrayRecord": lambda items: ArrayRecord(dict(items)),
}
_FROM_BYTES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "float": float,
    "odd Array": array_from_bytes,
    "RecordDict": records_from_bytes,
    "MetricRecord": _record,
    "ConfigRecord": _record,
    "Random": _python_generator,
    "Generator": _numpy_generator,
    "torch.Generator": _torch_generator,
}

"""Python values as JSON nodes and arrays, and back: what a strategy may hold.

Numbers, text, lists, dicts, numpy arrays, tensors, Flower's records and random generators. An
object that is met twice is written once, so that two names for one generator stay two names for
one. Plain JSON values are their own node; any other node is an object whose `is` names its kind.
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from covey.federation.arrays import is_plain
from covey.federation.value_bytes import Unsaveable, from_bytes, is_flowers, to_bytes
from covey.platform.runs.tensors import check_arrays

Node = dict[str, Any]
IMMUTABLE = (bytes, float, tuple, frozenset, np.generic)  # whether one or two, nobody can tell
_COLLECTIONS = {"tuple": tuple, "set": set, "frozenset": frozenset}


class ValueWriter:
    """Turns values into nodes; those refer by name to `arrays`, which are copies."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[np.generic]] = {}
        # By id: the value, held so that its id stays taken; its node; how many came before it.
        self._met: dict[int, tuple[Any, Node, int]] = {}

    def write(self, value: Any, path: str) -> Any:
        """The node of a value; `path` names its arrays. Raises Unsaveable and keeps nothing."""
        arrays, met = len(self.arrays), len(self._met)
        try:
            return self._node(value, path)
        except Unsaveable:
            while len(self.arrays) > arrays:
                self.arrays.popitem()
            while len(self._met) > met:
                self._met.popitem()
            raise

    def _node(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
            return value
        if isinstance(value, IMMUTABLE):
            return self._written(value, path)
        if id(value) in self._met:
            _, first, first["number"] = self._met[id(value)]
            return {"is": "same", "number": first["number"]}
        node: Node = {}
        self._met[id(value)] = (
            value,
            node,
            len(self._met),
        )  # before its items, for one of them may be itself
        node.update(self._written(value, path))
        return node

    def _written(self, value: Any, path: str) -> Node:
        kind = type(value)
        if kind in (list, tuple, set, frozenset):
            items = [self._node(item, f"{path}.{number}") for number, item in enumerate(value)]
            return {"is": kind.__name__, "items": items}
        if kind is dict:
            pairs = [
                [self._node(key, path), self._node(item, f"{path}.{key}")]
                for key, item in value.items()
            ]
            return {"is": "dict", "items": pairs}
        if isinstance(value, torch.Tensor):
            return self._tensor(value, path)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._numbers(value, path)
        if is_flowers(value, ArrayRecord):
            pairs = [[name, self._node(array, f"{path}.{name}")] for name, array in value.items()]
            return {"is": "ArrayRecord", "items": pairs}
        if is_flowers(value, Array) and is_plain(value):
            return {"is": "Array", "array": self._numbers(value.numpy(), path)}
        if kind is np.random.Generator:
            return {"is": "Generator", "bits": self._node(value.bit_generator, path)}
        name, content = to_bytes(value)
        return {"is": name, "bytes": base64.b64encode(content).decode()}

    def _tensor(self, tensor: torch.Tensor, path: str) -> Node:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise Unsaveable(type(tensor).__name__)
        if not tensor.is_leaf:
            raise Unsaveable("tensor that a gradient goes through")
        try:
            node = self._numbers(tensor.detach().cpu().numpy(), path)
        except (TypeError, RuntimeError) as error:  # bfloat16 and sparse tensors
            raise Unsaveable(f"tensor: {error}") from error
        node |= {"is": type(tensor).__name__, "requires_grad": tensor.requires_grad}
        if tensor.grad is not None:
            node["grad"] = self._node(tensor.grad, f"{path}.grad")
        return node

    def _numbers(self, value: Any, path: str) -> Node:
        node: Node = {"is": "array" if isinstance(value, np.ndarray) else "scalar", "name": path}
        if node["is"] == "array" and value.flags.f_contiguous and not value.flags.c_contiguous:
            node["order"] = "F"
        array = np.array(value, order="C")
        try:
            check_arrays({path: array})
        except ValueError:
            raise Unsaveable(f"array of {array.dtype}") from None
        while node["name"] in self.arrays:  # two dict keys of one spelling, such as 1 and "1"
            node["name"] += "'"
        self.arrays[node["name"]] = array
        return node


class ValueReader:
    """Makes values of nodes, in the order in which they were written."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._arrays = arrays
        self._made: dict[int, Any] = {}

    def read(self, node: Any) -> Any:
        """The value that `ValueWriter` made this node of."""
        if not isinstance(node, dict):
            return node
        if node["is"] == "same":
            return self._made[node["number"]]
        if node["is"] == "list":
            items: list[Any] = self._keep(node, [])
            items.extend(map(self.read, node["items"]))
            return items
        if node["is"] == "dict":
            entries: dict[Any, Any] = self._keep(node, {})
            entries.update((self.read(key), self.read(item)) for key, item in node["items"])
            return entries
        return self._keep(node, self._value(node))

    def _keep(self, node: Node, value: Any) -> Any:
        if "number" in node:
            self._made[node["number"]] = value
        return value

    def _value(self, node: Node) -> Any:
        kind = node["is"]
        if kind in _COLLECTIONS:
            return _COLLECTIONS[kind](map(self.read, node["items"]))
        if kind == "ArrayRecord":
            return ArrayRecord({name: self.read(array) for name, array in node["items"]})
        if kind == "Array":
            return Array(self._numbers(node["array"]))
        if kind == "Generator":
            return np.random.Generator(self.read(node["bits"]))
        if kind == "scalar":
            return self._numbers(node)[()]
        if kind == "array":
            return self._numbers(node)
        if kind in ("Tensor", "Parameter"):
            return self._tensor(node)
        return from_bytes(kind, base64.b64decode(node["bytes"]))

    def _numbers(self, node: Node) -> NDArray[np.generic]:
        return np.array(self._arrays[node["name"]], order=node.get("order", "C"))

    def _tensor(self, node: Node) -> torch.Tensor:
        tensor = torch.from_numpy(self._numbers(node))
        if node["is"] == "Parameter":
            tensor = torch.nn.Parameter(tensor, requires_grad=node["requires_grad"])
        tensor.requires_grad_(node["requires_grad"])
        if "grad" in node:
            tensor.grad = self.read(node["grad"])
        return tensor

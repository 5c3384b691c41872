"""RLlib's states as arrays and JSON, and back: what a checkpoint holds in a pickle's place.

A state is a tree of dictionaries, lists and tuples over numbers, texts and arrays. The arrays stand
apart, under numbers; the tree itself is JSON, each branch an object of one key that says what it
is. A long list of like things (a replay buffer's episodes, rewards, priorities) is kept by its
columns, so that it takes a few arrays and not a million numbers in JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
PLAIN = (bool, int, float, str, type(None))
FEW = 8
"""A list of fewer numbers is written as it is."""
MAX_INT = 2**63 - 1


@dataclass(frozen=True)
class Packed:
    """A state taken apart: `tree` is JSON, which names the arrays by their number."""

    tree: bytes
    arrays: dict[str, Rows]


def pack(state: object) -> Packed:
    """Take a state apart. TypeError names the place of what is neither array, number nor text."""
    arrays: dict[str, Rows] = {}
    tree = _Packer(arrays).node(state, "")
    return Packed(json.dumps(tree).encode(), arrays)


def unpack(tree: bytes, arrays: Mapping[str, Rows]) -> Any:
    """The inverse of `pack`."""
    return _Unpacker(arrays).value(json.loads(tree))


class _Packer:
    """Values become nodes; their arrays are put aside."""

    def __init__(self, arrays: dict[str, Rows]) -> None:
        self._arrays = arrays

    def node(self, value: Any, place: str) -> Any:
        """What stands for a value in the tree; `place` is for people."""
        if type(value) in PLAIN:
            return value
        if isinstance(value, np.ndarray):
            return {"array": self._aside(value, place)}
        if isinstance(value, np.generic):
            return {"scalar": self._aside(np.asarray(value), place)}
        if isinstance(value, Mapping):
            items = [
                [_key(key, place), self.node(held, f"{place}/{key}")] for key, held in value.items()
            ]
            return {"mapping": items}
        if isinstance(value, tuple):
            return {"tuple": self.node(list(value), place)}
        if isinstance(value, list):
            return self._list(value, place)
        raise TypeError(f"{place}: a {type(value).__name__} cannot be kept in a checkpoint")

    def _aside(self, array: Rows, place: str) -> str:
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{place}: an array of {array.dtype} cannot be kept in a checkpoint")
        name = str(len(self._arrays))
        self._arrays[name] = np.array(array)
        return name

    def _list(self, values: list[Any], place: str) -> Any:
        first = values[0] if len(values) >= FEW else None
        if isinstance(first, Mapping) and _alike(values, Mapping, tuple):
            columns = [
                [_key(key, place), self.node([one[key] for one in values], f"{place}/*/{key}")]
                for key in first
            ]
            return {"mappings": columns, "count": len(values)}
        if isinstance(first, tuple) and _alike(values, tuple, len):
            columns = [self.node(list(one), f"{place}/*") for one in zip(*values, strict=True)]
            return {"tuples": columns, "count": len(values)}
        if isinstance(first, np.ndarray) and first.ndim and _alike(values, np.ndarray, _row_kind):
            lengths = self._aside(np.array([len(one) for one in values]), place)
            return {"arrays": self._aside(np.concatenate(values), place), "lengths": lengths}
        if first is not None and _are_numbers(values):
            numpys = isinstance(first, np.generic) and not isinstance(first, float)
            kind = "scalars" if numpys else "numbers"
            return {kind: self._aside(np.array(values), place)}
        return {"list": [self.node(one, f"{place}/{index}") for index, one in enumerate(values)]}


class _Unpacker:
    """Nodes become values again."""

    def __init__(self, arrays: Mapping[str, Rows]) -> None:
        self._arrays = arrays
        self._makers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "array": lambda node: np.array(arrays[node["array"]]),
            "scalar": lambda node: arrays[node["scalar"]][()],
            "mapping": lambda node: {key: self.value(held) for key, held in node["mapping"]},
            "tuple": lambda node: tuple(self.value(node["tuple"])),
            "list": lambda node: [self.value(one) for one in node["list"]],
            "numbers": lambda node: arrays[node["numbers"]].tolist(),
            "scalars": lambda node: list(arrays[node["scalars"]]),
            "arrays": self._split,
            "mappings": self._mappings,
            "tuples": self._tuples,
        }

    def value(self, node: Any) -> Any:
        """What a node stands for."""
        if not isinstance(node, dict):
            return node
        return self._makers[next(iter(node))](node)

    def _split(self, node: dict[str, Any]) -> list[Rows]:
        rows, lengths = self._arrays[node["arrays"]], self._arrays[node["lengths"]]
        ends = [0, *np.cumsum(lengths).tolist()]
        return [np.array(rows[begin:end]) for begin, end in pairwise(ends)]

    def _mappings(self, node: dict[str, Any]) -> list[dict[Any, Any]]:
        keys = [key for key, _ in node["mappings"]]
        if not keys:
            return [{} for _ in range(node["count"])]
        columns = [self.value(column) for _, column in node["mappings"]]
        return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]

    def _tuples(self, node: dict[str, Any]) -> list[tuple[Any, ...]]:
        if not node["tuples"]:
            return [()] * node["count"]
        return list(zip(*(self.value(column) for column in node["tuples"]), strict=True))


def _key(key: object, place: str) -> object:
    if type(key) not in (str, int):
        raise TypeError(f"{place}: the key {key!r} cannot be kept in a checkpoint")
    return key


def _alike(values: Sequence[Any], kind: type, trait: Callable[[Any], object]) -> bool:
    """Whether all are of one kind and have the same trait as the first."""
    if not all(isinstance(one, kind) for one in values):
        return False
    wanted = trait(values[0])
    return all(trait(one) == wanted for one in values)


def _row_kind(array: Rows) -> object:
    return array.dtype, array.shape[1:] if array.ndim else None


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether an array holds them all without a change. There may be millions."""
    kinds: set[type] = set(map(type, values))
    if kinds <= {float, np.float64}:  # numpy's is a float like any other
        return True
    if kinds == {int}:
        return bool(-MAX_INT <= min(values) and max(values) <= MAX_INT)
    return len(kinds) == 1 and issubclass(kinds.pop(), bool | np.bool_ | np.number)

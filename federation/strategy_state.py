"""A strategy's state as JSON and arrays, and back into a strategy that the app has built anew.

What is saved is every attribute that `values.py` has a form for, and the strategies inside a
wrapping one; privacy accountants write their own ledger. Code (functions, classes, modules,
loggers) is left to the app, which brings it again. Anything else cannot be saved, and its name is
told.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from covey.federation.privacy import is_accountant
from covey.federation.value_bytes import Unsaveable
from covey.federation.values import ValueReader, ValueWriter

CODE = (FunctionType, BuiltinFunctionType, MethodType, type, ModuleType, logging.Logger, partial)


@dataclass(frozen=True)
class SavedStrategy:
    """`tree` is JSON and refers to `arrays` by name.

    `left_out` names the attributes that were not saved.
    """

    tree: bytes
    arrays: dict[str, NDArray[np.generic]]
    left_out: list[str]


def save_strategy(strategy: Strategy) -> SavedStrategy:
    """The state of a strategy and of those it wraps. The arrays are copies."""
    writer, left_out = ValueWriter(), list[str]()
    tree = _save(strategy, "", (id(strategy),), writer, left_out)
    return SavedStrategy(json.dumps(tree).encode(), writer.arrays, left_out)


def restore_strategy(
    strategy: Strategy, tree: bytes, arrays: Mapping[str, NDArray[np.generic]]
) -> None:
    """Set the saved attributes on a strategy that the app has just built.

    The others stay as they are.
    """
    _restore(strategy, json.loads(tree), ValueReader(arrays))


def _save(
    strategy: Strategy,
    prefix: str,
    above: tuple[int, ...],
    writer: ValueWriter,
    left_out: list[str],
) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in vars(strategy).items():
        path = prefix + name
        if isinstance(value, Strategy):
            if id(value) not in above:  # a strategy may know the one around it
                inner = _save(value, f"{path}.", (*above, id(value)), writer, left_out)
                tree[name] = {"is": "strategy", "attributes": inner}
        elif is_accountant(value):
            tree[name] = {"is": "accountant", "ledger": value.state_dict()}
        elif not isinstance(value, CODE):
            try:
                tree[name] = writer.write(value, path)
            except Unsaveable as error:
                left_out.append(f"{path} ({error})")
    return tree


def _restore(strategy: Strategy | None, tree: Mapping[str, Any], reader: ValueReader) -> None:
    """None stands for a strategy that is gone; a value that others share may first appear there."""
    for name, node in tree.items():
        if isinstance(node, dict) and node["is"] == "strategy":
            inner = getattr(strategy, name, None)
            _restore(inner if isinstance(inner, Strategy) else None, node["attributes"], reader)
        elif isinstance(node, dict) and node["is"] == "accountant":
            # In place, for the app may hold it too; it refuses another configuration's ledger.
            if strategy is not None and is_accountant(accountant := getattr(strategy, name, None)):
                accountant.load_state_dict(node["ledger"])
        else:
            value = reader.read(node)
            if strategy is not None:
                setattr(strategy, name, value)

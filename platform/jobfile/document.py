"""Plain data on its way into a job file, and the place that each key of it came from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from covey.platform.errors import Key, KeyProblem
from covey.platform.jobfile.words import found

MAX_DEPTH = 40
MAX_INT = 2**63


@dataclass
class Document:
    """What a job file says: dicts, lists and scalars; where; and what was wrong in reading it.

    `places` maps a key's path to a text such as "job.yaml:12"; without one, its parent's counts.
    """

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)
    problems: list[KeyProblem] = field(default_factory=list)

    def known(self, key: Key) -> Key:
        """The longest beginning of `key` that has a place; () for the file as a whole."""
        beginnings = (key[:length] for length in range(len(key), 0, -1))
        return next((beginning for beginning in beginnings if beginning in self.places), ())

    def place(self, key: Key) -> str:
        """Where to look for `key`: its own place or that of the section that should hold it."""
        return self.places.get(self.known(key), self.source)


def plain(value: Any, key: Key, problems: list[KeyProblem]) -> Any:
    """A copy of `value` in dicts, lists, text, finite numbers, true, false and null.

    Whatever is something else is left out of the copy and told in `problems`.
    """
    if len(key) > MAX_DEPTH:
        problems.append(KeyProblem(key[:3], f"nested deeper than {MAX_DEPTH} levels"))
        return None
    if isinstance(value, Mapping):
        return _plain_mapping(value, key, problems)
    if isinstance(value, list | tuple):
        return [plain(item, (*key, index), problems) for index, item in enumerate(value)]
    wrong = _scalar_problem(value)
    if wrong is None:
        return value
    problems.append(KeyProblem(key, wrong))
    return None


def _plain_mapping(
    value: Mapping[Any, Any], key: Key, problems: list[KeyProblem]
) -> dict[str, Any]:
    copy = {}
    for name, item in value.items():
        if isinstance(name, str) and _scalar_problem(name) is None:
            copy[name] = plain(item, (*key, name), problems)
        else:
            problems.append(KeyProblem(key, f"found the key {found(name)}, allowed are text keys"))
    return copy


def _scalar_problem(value: object) -> str | None:
    if isinstance(value, str):
        # A lone surrogate, as in "\ud800", can be neither printed nor stored.
        return None if value.isascii() or _encodes(value) else "found text that is not Unicode"
    if isinstance(value, bool | None):
        return None
    if isinstance(value, int):
        return None if abs(value) < MAX_INT else "found a whole number of more than 63 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"found {found(value)}, allowed are finite numbers"
    return f"found {found(value)}, allowed are text, numbers, true, false, null, lists and mappings"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""How a problem speaks of keys and values: short, on one line, whatever they hold."""

import re
from collections.abc import Mapping

from covey.platform.errors import Key

MAX_SHOWN = 60


def show_key(key: Key) -> str:
    """A key's path as it would be given to `--set`, e.g. rl.env.id or after[0]."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _is_simple(part) else found(part))
    return text or "top level"


def found(value: object) -> str:
    """A value in a few words; text stands in quotes."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _shorten(repr(value[: MAX_SHOWN + 1]))
    if isinstance(value, Mapping):
        return "a section" if value else "an empty section"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**MAX_SHOWN else "a very long number"
    if isinstance(value, float):
        return repr(float(value))
    return f"a Python {type(value).__name__}"


def one_line(text: str) -> str:
    """The text without line breaks, and not endless."""
    return " ".join(text.split())[:1000]


def _is_simple(name: str) -> bool:
    return re.fullmatch(r"[\w-]{1,60}", name) is not None


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 4] + "..." + text[0]

"""The text of a manifest to plain data, read as `kubectl` reads it.

That is YAML 1.1 as Go's library has it: many documents, merge keys, `on` is true and 0644 octal,
but dates and 1:30 are text. For job files there is `covey.platform.jobfile.yaml_text`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from covey.platform.errors import Key
from covey.platform.jobfile.words import found, one_line
from covey.platform.kubernetes.faults import Finding

MAX_CHARACTERS = 3_000_000
"""An API server refuses larger requests."""
MAX_NODES = 200_000
MAX_DEPTH = 100
PREFIX = "tag:yaml.org,2002:"
TRUE = ("y", "yes", "true", "on")
PATTERNS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(?:0|[1-9][0-9_]*|0o?[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0b[01][01_]*)",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "merge": r"<<",
}
SCALARS = {tag: re.compile(f"(?:{pattern})$") for tag, pattern in PATTERNS.items()}
Loader: Any = type(
    "Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}}
)
for _tag, _pattern in SCALARS.items():
    Loader.add_implicit_resolver(PREFIX + _tag, _pattern, None)


class Unreadable(Exception):
    """The text as a whole is no manifest; the message says why and in which line."""


@dataclass
class Document:
    """One object of a manifest, and what was wrong in reading it; null data is no object."""

    name: str
    data: Any
    findings: list[Finding] = field(default_factory=list)


def read_documents(text: str) -> list[Document]:
    """All objects that the text holds; those of a `kind: List` one by one. Raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"{len(text)} characters, allowed are {MAX_CHARACTERS}")
    try:
        text.encode()
        _guard(text)
        nodes = list(yaml.compose_all(text, Loader=Loader))
    except UnicodeError:
        raise Unreadable("not Unicode text") from None
    except yaml.YAMLError as error:
        raise Unreadable(_explain(error)) from None
    builder = _Builder()
    return [
        document
        for place, node in enumerate(nodes, 1)
        for document in _objects(builder, place, node)
    ]


def _guard(text: str) -> None:
    """Refuse what would exhaust stack or memory, before anything is built from it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise Unreadable(_too_much(depth, event.start_mark.line if event.start_mark else 0))


def _too_much(depth: int, line: int) -> str:
    what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else _TOO_MANY
    return f"line {line + 1}: {what}"


_TOO_MANY = f"more than {MAX_NODES} keys and values (aliases count each time)"


def _explain(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.problem, error.context) if part)
        return one_line(f"line {mark.line + 1 if mark else 1}: not YAML: {reason}")
    return one_line(f"not YAML: {error}")


def _objects(builder: "_Builder", place: int, node: yaml.Node | None) -> Iterator[Document]:
    builder.findings = []
    data = builder.value(node, ()) if node is not None else None
    if data is None and not builder.findings:
        return  # between two `---` there may be nothing
    items = data.get("items") if isinstance(data, dict) and data.get("kind") == "List" else None
    if isinstance(items, list):
        yield Document(f"document {place}", None, builder.findings)
        for item in items:
            yield Document(_name(item, place), item)
    else:
        yield Document(_name(data, place), data, builder.findings)


def _name(data: Any, place: int) -> str:
    """kind/name, as far as they can be told."""
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        kind, name = data.get("kind"), data["metadata"].get("name")
        if isinstance(kind, str) and isinstance(name, str) and kind and name:
            return one_line(f"{kind[:60]}/{name[:260]}")
    return f"document {place}"


class _Builder:
    """Nodes to data. An alias is built anew where it stands: it counts as often as it is used."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.nodes = 0

    def value(self, node: yaml.Node, key: Key) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(key) > MAX_DEPTH:
            raise Unreadable(_too_much(len(key), node.start_mark.line))
        if isinstance(node, yaml.MappingNode) and node.tag == PREFIX + "map":
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == PREFIX + "seq":
            return [self.value(item, (*key, place)) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        return self.unsupported(node, key)

    def mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag == PREFIX + "merge":
                merged |= self.merged(value_node, key)
                continue
            name = self.name(name_node, key)
            path = (*key, name)
            if name in data:
                line = name_node.start_mark.line + 1
                self.say(path, f"stands twice, again in line {line}; a key stands once")
                continue
            data[name] = self.value(value_node, path)
        return {**merged, **data}

    def merged(self, node: yaml.Node, key: Key) -> dict[str, Any]:
        """What `<<` brings in: a mapping, or several of which the first counts."""
        value = self.value(node, (*key, "<<"))
        merged: dict[str, Any] = {}
        for item in reversed(value if isinstance(value, list) else [value]):
            if isinstance(item, dict):
                merged |= item
            else:
                self.say((*key, "<<"), f"found {found(item)}, allowed is a mapping to merge")
        return merged

    def name(self, node: yaml.Node, key: Key) -> str:
        """A mapping's key as text, which JSON wants."""
        if not isinstance(node, yaml.ScalarNode):
            self.say(key, "found a key that is no text, allowed is text")
            return "?"
        value = self.scalar(node, key)
        return value if isinstance(value, str) else str(node.value)

    def scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        kind = node.tag.removeprefix(PREFIX)
        if kind in ("str", "merge"):
            return node.value
        if kind not in SCALARS or not SCALARS[kind].fullmatch(node.value):
            return self.unsupported(node, key)
        plain = node.value.replace("_", "")
        if kind == "null":
            return None
        if kind == "bool":
            return plain.lower() in TRUE
        value = _whole(plain) if kind == "int" else float(re.sub(r"(?i)\.(inf|nan)$", r"\1", plain))
        if not math.isfinite(value):
            self.say(key, f"found {node.value}, allowed are finite numbers")
            return 0
        return int(value) if value == int(value) else value

    def unsupported(self, node: yaml.Node, key: Key) -> None:
        tag = one_line(node.tag.replace(PREFIX, "!!"))
        self.say(key, f"found the tag {tag[:60]}, allowed are plain values without tags")

    def say(self, key: Key, message: str) -> None:
        self.findings.append(Finding(key, message))


def _whole(plain: str) -> int | float:
    """A whole number in any of Go's notations; one too long for anything is infinite."""
    if len(plain) > 40:
        return math.inf
    sign, digits = (-1 if plain[0] == "-" else 1), plain.lstrip("+-")
    if re.fullmatch(r"0[0-7]+", digits):
        return sign * int(digits, 8)
    return sign * int(digits, 0)

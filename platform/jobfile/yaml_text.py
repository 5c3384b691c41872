"""YAML to plain data with line numbers, and plain data to YAML that reads back as the same.

Differs from YAML 1.1, PyYAML's own dialect, where a job file would be misread: 1e-3 is a number;
dates, 1:30 and 017 are text; merge keys and tags do not exist; a key stands once.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from covey.platform.errors import Key, KeyProblem
from covey.platform.jobfile.document import MAX_DEPTH, Document
from covey.platform.jobfile.words import one_line

MAX_NODES = 10_000
PREFIX = "tag:yaml.org,2002:"
PATTERNS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(?:0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}
SCALARS = {tag: re.compile(f"(?:{pattern})$") for tag, pattern in PATTERNS.items()}
TRUE = ("yes", "true", "on")

# The C parser is about ten times as fast; a PyYAML built without it reads the same.
Loader: Any = type(
    "Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}}
)
# Keeps PyYAML's own resolvers too: quotes text that either dialect would take for something else.
Dumper: Any = type("Dumper", (getattr(yaml, "CSafeDumper", yaml.SafeDumper),), {})
for _tag, _pattern in SCALARS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(PREFIX + _tag, _pattern, None)
Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(PREFIX + "seq", items, flow_style=True),
)


class NotYaml(Exception):
    """The text as a whole cannot be read; `line` counts from 1, None when there is none to name."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = one_line(reason)
        self.line = line


def read_yaml(text: str, key: Key, place: Callable[[int], str], document: Document) -> Any:
    """The value that `text` holds, bound for `key`; null when it holds none.

    Places of keys and problems with them go into `document`; `place` turns a line number, from 1,
    into a place. Raises NotYaml.
    """
    try:
        text.encode()
        _guard(text)
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise _explain(error, text) from None
    except UnicodeError:
        raise NotYaml("not Unicode text") from None
    if node is None:
        return None
    return _Builder(place, document).value(node, key)


def write_yaml(data: Any) -> str:
    """Plain data as YAML, keys in their own order."""
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def _guard(text: str) -> None:
    """Refuse what would exhaust stack or memory, before anything is built from it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else _TOO_MANY
            raise NotYaml(what, event.start_mark.line + 1 if event.start_mark else None)


_TOO_MANY = f"more than {MAX_NODES} keys and values"


def _explain(error: yaml.YAMLError, text: str) -> NotYaml:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
        row = (text.splitlines() or [""])[line : line + 1]
        if row and "\t" in row[0][: len(row[0]) - len(row[0].lstrip())]:
            return NotYaml("a tab cannot indent YAML, use spaces", line + 1)
        if "single document" in (error.context or ""):
            return NotYaml("a second document begins here; a job file holds one", line + 1)
        reason = ", ".join(part for part in (error.problem, error.context) if part)
        return NotYaml(f"not YAML: {reason}", line + 1)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.encode()[: error.position].count(b"\n") + 1
        return NotYaml(f"not text: it holds the character U+{error.character:04X}", line)
    return NotYaml(f"not YAML: {error}")


class _Builder:
    """Nodes to data. An alias is built anew where it stands: it counts as often as it is used."""

    def __init__(self, place: Callable[[int], str], document: Document) -> None:
        self.place = place
        self.document = document
        self.nodes = 0

    def value(self, node: yaml.Node, key: Key) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(key) > MAX_DEPTH:
            what = _TOO_MANY if self.nodes > MAX_NODES else f"nested deeper than {MAX_DEPTH} levels"
            raise NotYaml(f"{what} (aliases count each time)", node.start_mark.line + 1)
        self.document.places.setdefault(key, self.place(node.start_mark.line + 1))
        if isinstance(node, yaml.MappingNode) and node.tag == PREFIX + "map":
            return self.mapping(node, key)
        if isinstance(node, yaml.SequenceNode) and node.tag == PREFIX + "seq":
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        return self.unsupported(node, key)

    def mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            name = self.name(name_node, key)
            if name is None:
                continue
            path = (*key, name)
            if name in data:
                first = self.document.places.pop(path)
                self.document.places[path] = self.place(line)
                self.problem(path, f"stands twice; the first is at {first}, a key stands once")
                continue
            self.document.places[path] = self.place(line)
            data[name] = self.value(value_node, path)
        return data

    def name(self, node: yaml.Node, key: Key) -> str | None:
        """A mapping's key, if it is text."""
        path, text = (*key, "?"), "found a key that is not text, allowed is text: put it in quotes"
        if isinstance(node, yaml.ScalarNode):
            path = (*key, str(node.value))
            if node.value == "<<" and not node.style:
                text = "merge keys are not supported, write the values out"
            elif node.tag == PREFIX + "str":
                return str(node.value)
        self.document.places[path] = self.place(node.start_mark.line + 1)
        self.problem(path, text)
        return None

    def scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        kind = node.tag.removeprefix(PREFIX)
        if kind == "str":
            return node.value
        if kind not in SCALARS or not SCALARS[kind].fullmatch(node.value):
            return self.unsupported(node, key)
        text = node.value.replace("_", "")
        if kind == "int":
            # Python refuses to read thousands of digits; twenty are already too many here.
            return int(text[:40])
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return None if kind == "null" else text.lower() in TRUE

    def unsupported(self, node: yaml.Node, key: Key) -> None:
        tag = one_line(node.tag.replace(PREFIX, "!!"))
        self.problem(key, f"found the tag {tag[:60]}, allowed are plain values without tags")

    def problem(self, key: Key, message: str) -> None:
        self.document.problems.append(KeyProblem(key, message))

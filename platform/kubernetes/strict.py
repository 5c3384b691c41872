"""Data against the schema of its kind, stricter than a server: unknown fields are faults.

The schemas are those of custom resource definitions (structural OpenAPI) and those of the core
kinds (JSON Schema with `$ref`). A server only prunes or warns of what it does not know, and the
mistake shows when the field has no effect.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from covey.platform.errors import Key
from covey.platform.jobfile.allowed import listed
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.kubernetes.cel_rules import broken_rules
from covey.platform.kubernetes.faults import Finding, Findings

Schema = Mapping[str, Any]
WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
PYTHON: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
BITS = {"int32": 31, "int64": 63}
QUANTITY = "a quantity such as 500m, 2 or 4Gi"
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}


class Strict:
    """Checks data; `definitions` are what a schema's `$ref`s name, by the last part."""

    def __init__(self, definitions: Mapping[str, Schema] | None = None) -> None:
        self.definitions = definitions or {}

    def check(self, value: Any, schema: Schema, key: Key = ()) -> Findings:
        """What is wrong with `value`, which stands at `key`. Null counts as absent."""
        schema = self._resolved(schema)
        findings = list(self._shape(value, schema, key))
        yield from findings
        if not findings:
            yield from broken_rules(value, schema.get("x-kubernetes-validations", ()), key)

    def _shape(self, value: Any, schema: Schema, key: Key) -> Findings:
        kinds = _kinds(schema)
        if kinds and not _is_any(value, kinds):
            yield Finding(key, f"found {found(value)}, allowed is {_words(kinds)}")
        elif isinstance(value, dict):
            yield from self._mapping(value, schema, key)
        elif isinstance(value, list):
            yield from self._list(value, schema, key)
        else:
            yield from _scalar(value, schema, key)

    def _resolved(self, schema: Schema) -> Schema:
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name.endswith(("intstr.IntOrString", "resource.Quantity")):
            return INT_OR_STRING if name.endswith("String") else {"type": ["string", "number"]}
        return self.definitions.get(name, {}) if name else schema

    def _mapping(self, value: dict[str, Any], schema: Schema, key: Key) -> Findings:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        others = schema.get("additionalProperties")
        any_other = schema.get("x-kubernetes-preserve-unknown-fields") or not (
            properties or isinstance(others, Mapping) or others is False
        )
        for name in value:
            if name not in properties and not isinstance(others, Mapping) and not any_other:
                yield _unknown(name, properties, value, key)
        for name in schema.get("required", ()):
            if value.get(name) is None and "default" not in properties.get(name, {}):
                yield Finding((*key, name), "is missing")
        for name, item in value.items():
            below = properties.get(name, others if isinstance(others, Mapping) else None)
            if below is not None and item is not None:
                yield from self.check(item, below, (*key, name))
        size = schema.get("maxProperties")
        if size is not None and len(value) > size:
            yield Finding(key, f"holds {len(value)} entries, allowed are {size}")

    def _list(self, value: list[Any], schema: Schema, key: Key) -> Findings:
        few, many = schema.get("minItems", 0), schema.get("maxItems", len(value))
        if not few <= len(value) <= many:
            allowed = f"at least {few}" if len(value) < few else f"at most {many}"
            yield Finding(key, f"holds {len(value)} items, allowed are {allowed}")
        for place, item in enumerate(value):
            yield from self.check(item, schema.get("items", {}), (*key, place))
        yield from self._unique(value, schema, key)

    def _unique(self, value: list[Any], schema: Schema, key: Key) -> Findings:
        """Items of a set, and items of a map by its keys, stand once."""
        kind = schema.get("x-kubernetes-list-type")
        if kind not in ("set", "map"):
            return
        names = schema.get("x-kubernetes-list-map-keys", ())
        properties = self._resolved(schema.get("items", {})).get("properties", {})
        seen: set[str] = set()
        for place, item in enumerate(value):
            what: Any = item
            path: Key = (*key, place)
            if kind == "map" and isinstance(item, dict):
                what = [item.get(n, properties.get(n, {}).get("default")) for n in names]
                path = (*path, *names[:1])
            mark = json.dumps(what, sort_keys=True)
            if mark in seen:
                yield Finding(path, f"{_which(what, names)} stands twice, allowed is once")
            seen.add(mark)


def _kinds(schema: Schema) -> list[str]:
    """The types that a schema allows, without null."""
    if schema.get("x-kubernetes-int-or-string"):
        return ["integer", "string"]
    kind = schema.get("type", [])
    return [one for one in ([kind] if isinstance(kind, str) else kind) if one != "null"]


def _is_any(value: Any, kinds: list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, PYTHON[kind]) for kind in kinds)


def _words(kinds: list[str]) -> str:
    words = " or ".join(WORDS[kind] for kind in kinds)
    return f"{words} (in quotes)" if words == "text" else words


def _unknown(name: str, properties: Mapping[str, Schema], value: Schema, key: Key) -> Finding:
    meant = nearest(name, properties)
    if meant:
        instead = name if meant in value else meant
        message = f"is not known here, did you mean {meant}?"
        return Finding((*key, name), message, (*key, instead))
    free = sorted(each for each in properties if each not in value)
    message = listed("is not known here, possible are ", free)
    return Finding((*key, name), message, (*key, name))


def _which(what: Any, names: list[str]) -> str:
    if names and isinstance(what, list):
        return " with ".join(
            f"{name} {found(part)}" for name, part in zip(names, what, strict=True)
        )
    return found(what)


def _scalar(value: Any, schema: Schema, key: Key) -> Findings:
    if "enum" in schema and value not in schema["enum"]:
        allowed = listed("allowed is one of ", [str(each) for each in schema["enum"]])
        meant = nearest(value, schema["enum"]) if isinstance(value, str) else None
        hint = f", did you mean {meant}?" if meant else ""
        yield Finding(key, f"found {found(value)}, {allowed}{hint}")
    elif isinstance(value, str):
        yield from _text(value, schema, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, key)


def _text(value: str, schema: Schema, key: Key) -> Findings:
    short, long = schema.get("minLength", 0), schema.get("maxLength", len(value))
    if not short <= len(value) <= long:
        allowed = f"at least {short}" if len(value) < short else f"at most {long}"
        yield Finding(key, f"holds {len(value)} characters, allowed are {allowed}")
    elif "pattern" in schema and not _compiled(schema["pattern"]).search(value):
        pattern = schema["pattern"]
        allowed = QUANTITY if "KMGTPE" in pattern else f"what matches {pattern}"
        yield Finding(key, f"found {found(value)}, allowed is {allowed}")
    elif schema.get("format") == "date-time" and not _is_time(value):
        yield Finding(key, f"found {found(value)}, allowed is a time such as 2026-01-31T12:00:00Z")
    elif schema.get("format") == "byte" and not _is_base64(value):
        yield Finding(key, "is no base64; plain text goes under stringData")


def _number(value: float, schema: Schema, key: Key) -> Findings:
    bits = BITS.get(schema.get("format", ""))
    low = schema.get("minimum", -(2**bits) if bits else value)
    high = schema.get("maximum", 2**bits - 1 if bits else value)
    if value < low:
        yield Finding(key, f"found {found(value)}, allowed is at least {low}")
    elif value > high:
        yield Finding(key, f"found {found(value)}, allowed is at most {high}")


@lru_cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))


def _is_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None and "T" in value
    except ValueError:
        return False


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True

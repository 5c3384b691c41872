"""Schemas made strict, the expressions in them, and quantities: literals in, literals out."""

from decimal import Decimal
from typing import Any

import pytest

from covey.platform.kubernetes.strict import Strict
from covey.platform.kubernetes.syntax import quantity

OBJECT = {"type": "object"}


def told(value: Any, schema: dict[str, Any]) -> list[str]:
    found = Strict().check(value, schema)
    return [f"{'.'.join(map(str, each.key))}: {each.message}" for each in found]


def rule(expression: str, **others: Any) -> dict[str, Any]:
    return {**others, "x-kubernetes-validations": [{"rule": expression, "message": "no"}]}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (7, {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]}),
        ("7", {"x-kubernetes-int-or-string": True, "pattern": "^[0-9]$"}),
        ({"a": 7}, {"x-kubernetes-preserve-unknown-fields": True, "properties": {"b": {}}}),
        ({"a": None}, {"properties": {"a": {"type": "string"}}}),
        ({}, {"properties": {"a": {"default": 1}}, "required": ["a"]}),
        ({"a": {}}, OBJECT),
        ({"a": "x"}, {"additionalProperties": {"type": "string"}}),
        (
            [{"a": 1}, {"a": 2}],
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]},
        ),
        (2**40, {"type": "integer", "format": "int64"}),
        (1, {"type": "number"}),
        ("2026-01-31T12:00:00Z", {"type": "string", "format": "date-time"}),
        ({"a": 1}, rule("has(self.a)")),
        ({"a": 1, "b": None}, rule("!has(self.b)")),
        (1, rule("self == oldSelf")),
        ("http://x", rule("isURL(self)")),
        (1, rule("quantity('1').")),
    ],
    ids=repr,
)
def test_what_holds(value: Any, schema: dict[str, Any]) -> None:
    assert told(value, schema) == []


@pytest.mark.parametrize(
    ("value", "schema", "fault"),
    [
        (True, {"type": "integer"}, ": found true, allowed is a whole number"),
        (
            1.5,
            {"x-kubernetes-int-or-string": True},
            ": found 1.5, allowed is a whole number or text",
        ),
        ([None], {"items": {"type": "string"}}, "0: found nothing, allowed is text (in quotes)"),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, "a: found 1, allowed is text"),
        ({"a": 1}, {"properties": {"b": {}}}, "a: is not known here, possible are b"),
        ({"a": 1}, {"additionalProperties": False}, "a: is not known here"),
        ({"a": None}, {"properties": {"a": {}}, "required": ["a"]}, "a: is missing"),
        (["a", "a"], {"x-kubernetes-list-type": "set"}, "1: 'a' stands twice"),
        (2**31, {"type": "integer", "format": "int32"}, ": found 2147483648, allowed is at most"),
        (-1, {"type": "integer", "minimum": 0}, ": found -1, allowed is at least 0"),
        ([], {"minItems": 1}, ": holds 0 items, allowed are at least 1"),
        ("abc", {"maxLength": 2}, ": holds 3 characters, allowed are at most 2"),
        ("a\n", {"pattern": "^a$"}, ": found 'a\\n', allowed is what matches ^a$"),
        ("31.1.2026", {"format": "date-time"}, ": found '31.1.2026', allowed is a time"),
        ({"a": 1}, rule("self.a > 1"), ": no"),
        ({"a": 1}, rule("self.b > 1"), ": no"),
    ],
    ids=repr,
)
def test_what_does_not_hold(value: Any, schema: dict[str, Any], fault: str) -> None:
    faults = told(value, schema)
    assert len(faults) == 1 and faults[0].startswith(fault), faults


def test_rules_are_for_values_of_the_right_shape() -> None:
    assert told("x", rule("self > 1", type="integer")) == [
        "': found 'x', allowed is a whole number"[1:]
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        (4, 4),
        (0.5, Decimal("0.5")),
        ("500m", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("1.5Gi", 3 * 2**29),
        ("2k", 2000),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("100n", Decimal("1e-7")),
        ("-1", -1),
        ("1 Gi", None),
        ("1GB", None),
        ("1K", None),
        ("Gi", None),
        ("", None),
        (True, None),
        (None, None),
        ("1" * 200, None),
    ],
)
def test_quantities(text: object, number: Decimal | int | None) -> None:
    assert quantity(text) == number

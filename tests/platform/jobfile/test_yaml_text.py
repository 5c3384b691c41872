"""Where our YAML differs from PyYAML's."""

import pytest

from covey.platform.jobfile.document import Document
from covey.platform.jobfile.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("-2E5", -200000.0),
        (".5", 0.5),
        ("1_000.5", 1000.5),
        ("500_000", 500000),
        ("-7", -7),
        ("0", 0),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("017", "017"),
        ("1:30", "1:30"),
        ("2026-11-22", "2026-11-22"),
        ("0x1F", "0x1F"),
        ("nan", "nan"),
        ("1e", "1e"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("&a [1, &b 2]", [1, 2]),
    ],
)
def test_scalars(text: str, value: object) -> None:
    document = Document("")
    assert repr(read_yaml(text, (), str, document)) == repr(value)
    assert not document.problems


def test_every_key_has_its_line() -> None:
    document = Document("")
    read_yaml("a: 1\nb:\n  - c: 2\n  -\n    d: 3\n", (), lambda line: f"line {line}", document)
    assert document.place(("a",)) == "line 1"
    assert document.place(("b", 0, "c")) == "line 3"
    assert document.place(("b", 1, "d")) == "line 5"
    assert document.place(("b", 1, "missing")) == "line 5"


def test_an_alias_is_the_value_it_stands_for() -> None:
    document = Document("")
    assert read_yaml("a: &x {b: 1}\nc: *x\n", (), str, document) == {"a": {"b": 1}, "c": {"b": 1}}

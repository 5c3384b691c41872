"""What is written is readable, complete, and reads back as the same job."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.platform.jobfile.document import Document
from covey.platform.jobfile.load import dump_job_file, load_job_file, parse_job_file
from covey.platform.jobfile.yaml_text import read_yaml, write_yaml

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_all_defaults_are_written_in_the_order_of_the_fields(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    text = dump_job_file(load_job_file(job_file(orchard_text)))
    assert text == (
        "name: apples-1\n"
        "workload: tree-growing\n"
        "seed: 0\n"
        "deterministic: false\n"
        "resources:\n  cpus: 1.0\n  gpus: 0.0\n"
        "priority: 0\n"
        "after: []\n"
        "retries:\n  max_attempts: 3\n  backoff_s: 5.0\n"
        "checkpoint:\n  every_s: 60.0\n  keep: 2\n"
        "grace_s: 30.0\n"
        "stop:\n  rounds: 3\n"
        "tree-growing:\n"
        "  algorithm:\n    name: prune\n    depth: 2\n    seasons: [1, 2]\n"
        "  weather:\n    id: rain\n    options: {}\n"
        "  pickers: auto\n"
        "  rest_s: 5.0\n"
    )


def test_null_is_written_where_leaving_the_key_out_means_something_else(
    job_file: Callable[[str], Path], orchard_text: str
) -> None:
    job = load_job_file(job_file(orchard_text), ["tree-growing.rest_s=null"])
    assert "rest_s: null\n" in dump_job_file(job)
    assert load_job_file(job_file(dump_job_file(job))) == job


@settings(max_examples=100, deadline=None, derandomize=True)
@given(options=st.dictionaries(st.text(), PLAIN, max_size=5), heat=st.floats(1e-300, 1e300))
def test_a_written_job_reads_back_equal(options: dict[str, Any], heat: float) -> None:
    section = {
        "algorithm": {"name": "graft", "heat": heat},
        "weather": {"id": "1e-3", "options": options},
    }
    data = {
        "name": "007",
        "workload": "tree-growing",
        "stop": {"rounds": 1},
        "tree-growing": section,
    }
    job = parse_job_file(data, Path())
    text = dump_job_file(job)
    assert parse_job_file(read_yaml(text, (), str, Document("")), Path()) == job


@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=PLAIN)
def test_plain_data_survives_our_yaml_and_reads_the_same_elsewhere(value: Any) -> None:
    text = write_yaml(value)
    document = Document("")
    assert repr(read_yaml(text, (), str, document)) == repr(value)
    assert not document.problems
    assert yaml.safe_load(text) == value


def test_text_that_looks_like_something_else_is_quoted() -> None:
    for text in (
        "1e-3",
        "1:30",
        "2026-11-22",
        "017",
        "0x1F",
        "yes",
        "null",
        "~",
        ".inf",
        "1_000",
        "<<",
    ):
        data = {"a": text, text: [text]}
        document = Document("")
        assert read_yaml(write_yaml(data), (), str, document) == data
        assert not document.problems

"""The JSON Schema agrees with the loader on what a job file is."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from covey.platform.errors import UserError
from covey.platform.jobfile import schema
from covey.platform.jobfile.schema import json_schema
from covey.platform.workload import workload_names


@pytest.fixture
def validator(monkeypatch: pytest.MonkeyPatch) -> Draft202012Validator:
    usable = [name for name in workload_names() if name != "broken"]
    monkeypatch.setattr(schema, "installed_names", lambda: usable)
    made = json_schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


@pytest.fixture
def job(orchard_text: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(orchard_text)
    return data


def test_it_accepts_a_right_job(validator: Draft202012Validator, job: dict[str, Any]) -> None:
    validator.validate(job)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sed": 7},
        {"stop": {}},
        {"stop": {"rounds": None}},
        {"stop": {"env_steps": 3}},
        {"checkpoint": {"every_env_steps": 3}},
        {"rl": {}},
        {"workload": "tree"},
        {"workload": "rl"},
        {"grace_s": "60s"},
        {"tree-growing": {"weather": {"id": "rain"}}},
        {"tree-growing": {"algorithm": {"name": "prun"}, "weather": {"id": "rain"}}},
    ],
)
def test_it_refuses_a_wrong_one(
    validator: Draft202012Validator, job: dict[str, Any], wrong: dict[str, Any]
) -> None:
    assert not validator.is_valid({**job, **wrong})


def test_it_demands_the_section_of_the_workload(
    validator: Draft202012Validator, job: dict[str, Any]
) -> None:
    del job["tree-growing"]
    assert not validator.is_valid(job)


def test_keys_have_descriptions(validator: Draft202012Validator) -> None:
    properties = validator.schema["$defs"]["Pruning"]["properties"]
    assert properties["depth"]["description"] == "How many forks deep."
    assert "description" in validator.schema["properties"]["seed"]


def test_a_workload_that_cannot_be_loaded_is_named() -> None:
    with pytest.raises(UserError, match="broken is installed but cannot be loaded"):
        json_schema()

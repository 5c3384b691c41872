"""The JSON Schema of job files, by which editors complete and check them."""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from covey.platform.errors import KeyProblem, UserError
from covey.platform.jobfile.checks import EVERY, stop_keys
from covey.platform.jobfile.model import JobFile, Section, Stop
from covey.platform.jobfile.shape import find_installed, installed_names
from covey.platform.workload import Workload


def json_schema() -> dict[str, Any]:
    """The schema of a job file of any installed workload (JSON Schema, draft 2020-12).

    Raises UserError when an installed workload cannot be loaded.
    """
    try:
        workloads = {name: find_installed(name) for name in installed_names()}
    except KeyProblem as problem:
        raise UserError(problem.message) from problem
    models: list[type[Section]] = [JobFile, *(w.section for w in workloads.values())]
    references, definitions = models_json_schema(
        [(model, "validation") for model in models], schema_generator=Described
    )
    defs = definitions["$defs"]
    common = defs.pop(_name(references[JobFile, "validation"]))
    properties = dict(common["properties"])
    properties["workload"] = {**properties["workload"], "enum": list(workloads)}
    for name, workload in workloads.items():
        properties[name] = references[workload.section, "validation"]
    _at_least_one(defs["Stop"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Covey job file",
        "type": "object",
        "properties": properties,
        "required": common["required"],
        "additionalProperties": False,
        "allOf": [_rule(name, workloads) for name in workloads],
        "$defs": defs,
    }


class Described(GenerateJsonSchema):
    """Adds the docstrings under a section's fields, which an editor shows beside the keys.

    Pydantic would read them from the source when each class is made, so at every start.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json = super().model_schema(schema)
        for name, text in _field_docstrings(schema["cls"]).items():
            json.get("properties", {}).get(name, {}).setdefault("description", text)
        return json


def _field_docstrings(model: type) -> dict[str, str]:
    try:
        [definition] = ast.parse(dedent(inspect.getsource(model))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }


def _rule(name: str, workloads: dict[str, Workload]) -> dict[str, Any]:
    """What else holds if a job file names this workload."""
    workload = workloads[name]
    misfits: dict[str, Any] = {other: False for other in workloads if other != name}
    misfits["stop"] = _without(set(Stop.model_fields) - stop_keys(workload))
    misfits["checkpoint"] = _without(set(EVERY) - {"every_s", f"every_{workload.step_unit}"})
    required = any(field.is_required() for field in workload.section.model_fields.values())
    return {
        "if": {"properties": {"workload": {"const": name}}, "required": ["workload"]},
        "then": {"properties": misfits, "required": [name] if required else []},
    }


def _without(names: set[str]) -> dict[str, Any]:
    """No value but null for these keys: null is the same as leaving the key out."""
    return {"properties": {name: {"type": "null"} for name in sorted(names)}}


def _at_least_one(stop: dict[str, Any]) -> None:
    """Demand one key of the section that is not null."""
    number = {"not": {"type": "null"}}
    stop["anyOf"] = [{"required": [n], "properties": {n: number}} for n in Stop.model_fields]


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]

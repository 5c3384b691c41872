"""What is wrong with a job file's values: pydantic's errors as one clear sentence a key."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from covey.platform.errors import Key, KeyProblem
from covey.platform.jobfile.allowed import Allowed, listed
from covey.platform.jobfile.model import JobFile
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.shape import installed_names
from covey.platform.jobfile.words import found, show_key

MAX_PROBLEMS = 50
SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400}
COUNTS = {"k": 10**3, "m": 10**6, "g": 10**9}


def value_problems(
    error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]
) -> list[KeyProblem]:
    """One problem for each wrong key of `data`; of very many the first."""
    top = _allowed(model)
    problems: dict[Key, KeyProblem] = {}
    for details in error.errors(include_url=False, include_context=False)[:MAX_PROBLEMS]:
        problem = _problem(details, top, data)
        problems.setdefault(problem.key, problem)
    more = error.error_count() - MAX_PROBLEMS
    if more > 0:
        problems[()] = KeyProblem((), f"there are {more} more problems than these")
    return list(problems.values())


@lru_cache
def _allowed(model: type[BaseModel]) -> Allowed:
    schema = model.model_json_schema()
    return Allowed(schema, schema.get("$defs", {}))


def _problem(details: ErrorDetails, top: Allowed, data: Mapping[str, Any]) -> KeyProblem:
    key, here = top.at(tuple(details["loc"]))
    kind = details["type"]
    if kind == "extra_forbidden":
        _, section = top.at(tuple(details["loc"])[:-1])
        return KeyProblem(key, _unknown_key(key, section, top, data))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag_problem(key, here, data)
    value = value_at(data, key)
    if kind == "missing":
        return KeyProblem(key, f"is missing, allowed is {here.describe(_unit(key))}")
    if kind in ("value_error", "assertion_error"):
        reason = details["msg"].partition(", ")[2]
        shown = "" if isinstance(value, Mapping | list) else f"found {found(value)}, "
        return KeyProblem(key, shown + reason)
    text = f"found {found(value)}, allowed is {here.describe(_unit(key))}"
    return KeyProblem(key, text + _hint(key, value, here))


def misspelt_keys(data: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Keys that look like one that all job files share, for when the workload is not known."""
    for name in islice(data, MAX_PROBLEMS):
        near = nearest(name, JobFile.model_fields)
        if near and name not in JobFile.model_fields and near not in data:
            yield KeyProblem((name,), f"unknown key, nearest is {near}")


def _unknown_key(key: Key, section: Allowed, top: Allowed, data: Mapping[str, Any]) -> str:
    """What there is instead of such a key, and which of these was meant."""
    name, names = str(key[-1]), section.keys()
    if len(key) == 1 and "workload" in data and name in installed_names():
        return f"another workload's section, but this job's workload is {data['workload']}"
    near = nearest(name, names) or _elsewhere(key, section, top)
    hint = f", nearest is {near}" if near else ""
    return f"unknown key{hint}" + listed("; allowed are ", names)


def _elsewhere(wrong: Key, section: Allowed, top: Allowed) -> str | None:
    """The path of a key of that very name in another section, or further down in this one: not what
    this one would have were it of another kind.
    """
    above, below = wrong[:-1], {(*wrong[:-1], *key) for key in section.deep_keys()}
    same = (key for key in top.deep_keys() if key[-1] == wrong[-1] and key != wrong)
    fit = (key for key in same if key[: len(above)] != above or key in below)
    return next(map(show_key, fit), None)


def _tag_problem(key: Key, here: Allowed, data: Mapping[str, Any]) -> KeyProblem:
    """A section whose shape depends on one of its keys, such as `name`: wrong or missing."""
    tag = str(here.discriminator().get("propertyName", "name"))
    section, allowed = value_at(data, key), listed("allowed are ", here.words())
    value = value_at(section, (tag,))
    misspelt = (
        nearest(tag, section) if isinstance(section, Mapping) and tag not in section else None
    )
    if misspelt:
        return KeyProblem((*key, misspelt), f"unknown key, nearest is {tag}")
    if value is None:
        return KeyProblem((*key, tag), f"is missing, {allowed}")
    near = nearest(value, here.words()) if isinstance(value, str) else None
    hint = f"; nearest is {near}" if near else ""
    return KeyProblem((*key, tag), f"found {found(value)}, {allowed}{hint}")


def value_at(data: Any, key: Key) -> Any:
    """The value that plain data holds at a key; None when it holds none."""
    for part in key:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _unit(key: Key) -> str:
    return " of seconds" if str(key[-1:] and key[-1]).endswith("_s") else ""


def _hint(key: Key, value: object, here: Allowed) -> str:
    """How to write what was probably meant."""
    kinds = here.kinds()
    if isinstance(value, float) and "integer" in kinds and value.is_integer() and value < 1e15:
        return f"; write {int(value)}"
    if isinstance(value, str):
        near = nearest(value, here.words())
        number = _number_meant(value, bool(_unit(key))) if kinds & {"integer", "number"} else None
        if near or number:
            return f"; nearest is {near}" if near else f"; write {number}"
    if isinstance(value, bool | int | float) and kinds == {"string"} and not here.words():
        return "; put it in quotes"
    if "array" in kinds and not isinstance(value, Mapping | list | None):
        return f"; write [{value}]"[:100]
    return ""


def _number_meant(text: str, seconds: bool) -> str | None:
    """The plain number behind "60s", "1.5 h", "1:30:00", "500k" or a quoted "60"."""
    match = re.fullmatch(r"\s*(\d{1,12}(?:[._]\d{1,12})?)\s*([a-zA-Z]*)\s*", text)
    if match:
        letters = match[2].lower()
        units = {"": 1, **(SECONDS if seconds else COUNTS)}
        factor = units.get(letters) or units.get(letters.rstrip("s")) or _long_unit(letters, units)
        number = float(match[1].replace("_", ""))
        return f"{number * factor:.12g}" if factor else None
    clock = re.fullmatch(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})", text.strip())
    if clock and seconds:
        hours, minutes, rest = (int(part or 0) for part in clock.groups())
        return str(hours * 3600 + minutes * 60 + rest)
    return None


def _long_unit(letters: str, units: Mapping[str, float]) -> float | None:
    """The factor of a unit written out, such as minutes or seconds."""
    for word in ("seconds", "minutes", "hours", "days"):
        if letters and word.startswith(letters):
            return units.get(word[0])
    return None

"""Reading, checking and writing job files: what the rest of the platform uses of this folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from covey.platform.errors import JobFileError, Key, KeyProblem
from covey.platform.jobfile.checks import code_folder, shared_problems
from covey.platform.jobfile.document import Document, plain
from covey.platform.jobfile.model import JobFile
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.overrides import apply_overrides
from covey.platform.jobfile.problems import misspelt_keys, value_problems
from covey.platform.jobfile.schema import json_schema
from covey.platform.jobfile.shape import Common, find_installed, full_model
from covey.platform.jobfile.words import found, one_line, show_key
from covey.platform.jobfile.yaml_text import NotYaml, read_yaml, write_yaml
from covey.platform.workload import Workload

__all__ = ["dump_job_file", "json_schema", "load_job_file", "parse_job_file"]

MAX_BYTES = 2**20


def load_job_file(path: Path, overrides: Sequence[str] = ()) -> JobFile:
    """The checked job in a YAML file; `overrides` are texts such as "stop.env_steps=1000".

    Raises JobFileError with every problem found.
    """
    source = one_line(str(path))
    document = Document(source)
    try:
        text = _read(path)
        data = read_yaml(text, (), lambda line: f"{source}:{line}", document)
    except NotYaml as error:
        place = source if error.line is None else f"{source}:{error.line}"
        raise JobFileError([f"{place}: {error.reason}"]) from None
    if not isinstance(data, dict):
        text = f"found {found(data)}, allowed are keys such as name, workload and stop"
        raise JobFileError([f"{source}:1: top level: {text}"])
    document.data = data
    apply_overrides(document, overrides)
    return _resolve(document, path.absolute().parent)


def parse_job_file(data: Mapping[str, object], base: Path, source: str = "job") -> JobFile:
    """The checked job in plain data; relative paths in it count from `base`.

    Raises JobFileError, with `source` in a file's place.
    """
    if not isinstance(data, Mapping):
        raise JobFileError([f"{source}: top level: found {found(data)}, allowed is a mapping"])
    return _resolve(Document(source, dict(data)), base.absolute())


def dump_job_file(job: JobFile) -> str:
    """The job as YAML with all defaults filled in; loading it gives an equal job."""
    return write_yaml(_dump(job))


def _read(path: Path) -> str:
    """The text of a file that looks like a job file; raises NotYaml."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        near = nearest(path.name, _yaml_files(path.parent))
        raise NotYaml("no such file" + (f"; nearest is {near}" if near else "")) from None
    except IsADirectoryError:
        inside = _yaml_files(path)
        hint = f"; job files in it: {', '.join(sorted(inside)[:5])}" if inside else ""
        raise NotYaml(f"a folder, no job file{hint}") from None
    except (OSError, ValueError) as error:
        raise NotYaml(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise NotYaml(f"larger than {MAX_BYTES} bytes, no job file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotYaml("not UTF-8 text", line) from None


def _yaml_files(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if path.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return []


def _resolve(document: Document, base: Path) -> JobFile:
    """The job that a document holds, checked by model, shared rules and workload."""
    data: dict[str, Any] = plain(document.data, (), document.problems)
    problems = document.problems
    try:
        workload = find_installed(data.get("workload"))
    except KeyProblem as problem:
        problems.append(problem)
        workload = None
    job = _validate(data, workload, problems)
    problems.extend(shared_problems(data, workload, base))
    if workload is None or job is None or problems:
        raise JobFileError(_lines(document, problems)) from None
    if job.code is not None:
        job = job.model_copy(update={"code": code_folder(job.code, base)})
    try:
        return workload.resolve(job, base)
    except KeyProblem as problem:
        raise JobFileError(_lines(document, [problem])) from None


def _validate(
    data: dict[str, Any], workload: Workload | None, problems: list[KeyProblem]
) -> JobFile | None:
    if workload is None:
        problems.extend(misspelt_keys(data))
    model = full_model(data["workload"], workload.section) if workload else Common
    try:
        # JSON is pydantic's strict dialect for files: a list is a tuple, but 1.0 no whole number.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problems.extend(value_problems(error, model, data))
    except KeyProblem as problem:
        problems.append(problem)
    return None


def _lines(document: Document, problems: Iterable[KeyProblem]) -> list[str]:
    """A line for each wrong key, in the file's order; only the first problem of a key."""
    first: dict[Key, KeyProblem] = {}
    for problem in problems:
        first.setdefault(problem.key, problem)
    rank = {key: number for number, key in enumerate(document.places, 1)}
    ordered = sorted(first.values(), key=lambda problem: rank.get(document.known(problem.key), 0))
    return [
        one_line(f"{document.place(problem.key)}: {show_key(problem.key)}: {problem.message}")
        for problem in ordered
    ]


def _dump(section: BaseModel) -> dict[str, Any]:
    """A section as plain data; null only where leaving the key out would mean something else."""
    data: dict[str, Any] = {}
    simple = section.model_dump(mode="json", by_alias=True)
    for name, info in type(section).model_fields.items():
        value, key = getattr(section, name), info.alias or name
        if value is None and info.default is None:
            continue
        data[key] = _dump(value) if isinstance(value, BaseModel) else simple[key]
    return data

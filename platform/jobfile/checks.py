"""What must hold between a job file's keys, whatever its workload: stop, checkpoint and code."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.allowed import listed
from covey.platform.jobfile.checkpoint_path import path_problem
from covey.platform.jobfile.model import Checkpointing, Stop
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found
from covey.platform.sent_folders import is_here
from covey.platform.workload import Workload

EVERY = tuple(name for name in Checkpointing.model_fields if name.startswith("every_"))


def shared_problems(
    data: Mapping[str, Any], workload: Workload | None, base: Path
) -> Iterator[KeyProblem]:
    """Every impossible combination; values of a wrong type, told elsewhere, are passed over.

    `workload` is None when the job file does not name one that exists.
    """
    stop = _given(data.get("stop"), tuple(Stop.model_fields))
    allowed = [name for name in Stop.model_fields if not workload or name in stop_keys(workload)]
    if isinstance(data.get("stop"), Mapping) and all(v is None for v in data["stop"].values()):
        yield KeyProblem(("stop",), listed("at least one key is needed, allowed are ", allowed))
    for name in stop:
        if name not in allowed:
            yield KeyProblem(("stop", name), _misfit(data, allowed))
    every = _given(data.get("checkpoint"), EVERY)
    allowed = ["every_s", f"every_{workload.step_unit}"] if workload else list(EVERY)
    for name in every:
        if name not in allowed:
            yield KeyProblem(("checkpoint", name), _misfit(data, allowed))
    checkpoint = data.get("checkpoint")
    path = checkpoint.get("path") if isinstance(checkpoint, Mapping) else None
    if isinstance(path, str) and (problem := path_problem(path)):
        yield KeyProblem(("checkpoint", "path"), problem)
    if data.get("deterministic") is True and "wall_s" in stop:
        text = "a deterministic job cannot stop by the clock; leave out wall_s or deterministic"
        yield KeyProblem(("stop", "wall_s"), text)
    if isinstance(data.get("code"), str) and not is_here(Path(code_folder(data["code"], base))):
        yield KeyProblem(("code",), _no_folder(data["code"], base))


def stop_keys(workload: Workload) -> set[str]:
    """The keys of `stop` that a workload can reach."""
    return {workload.step_unit, "wall_s", *workload.stop_metrics}


def code_folder(code: str, base: Path) -> str:
    """The absolute path of a job's code, given relative to its job file."""
    return os.path.abspath(os.path.join(base, os.path.expanduser(code)))


def _given(section: object, names: tuple[str, ...]) -> list[str]:
    if not isinstance(section, Mapping):
        return []
    return [name for name in names if section.get(name) is not None]


def _misfit(data: Mapping[str, Any], allowed: list[str]) -> str:
    return f"does not fit workload {data['workload']}" + listed(", allowed are ", allowed)


def _no_folder(code: str, base: Path) -> str:
    path = code_folder(code, base)
    if os.path.exists(path):
        return f"found {found(code)}, which is no folder"
    try:
        beside = [entry.name for entry in os.scandir(os.path.dirname(path)) if entry.is_dir()]
    except (OSError, ValueError):
        beside = []
    near = nearest(os.path.basename(path), beside)
    hint = f"; nearest is {near}" if near else ""
    return f"found {found(code)}, allowed is a folder that exists, relative to {base}{hint}"

"""The whole shape of one workload's job file: what all share and the workload's own section."""

from functools import lru_cache
from typing import Any

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import JobFile, Section, field_name
from covey.platform.jobfile.nearest import nearest
from covey.platform.jobfile.words import found, one_line
from covey.platform.workload import Workload, find_workload, workload_names


class Common(JobFile, extra="ignore"):
    """Checks what all job files share where the workload, and so its section, is not known."""


def find_installed(name: object) -> Workload:
    """The workload that a job file names; raises KeyProblem with the names there are."""
    try:
        if isinstance(name, str):
            return installed(name)
    except KeyError:
        pass
    except (ImportError, AttributeError) as error:
        text = f"{name} is installed but cannot be loaded: {one_line(str(error))}"
        raise KeyProblem(("workload",), text) from error
    names = installed_names()
    near = nearest(name, names) if isinstance(name, str) else None
    text = "is missing" if name is None else f"found {found(name)}"
    hint = f"; nearest is {near}" if near else ""
    raise KeyProblem(("workload",), f"{text}, installed are {', '.join(names)}{hint}")


@lru_cache
def installed(name: str) -> Workload:
    """The workload of that name, found once: a look at all installed packages takes about 15 ms.

    Raises KeyError when there is none.
    """
    return find_workload(name)


@lru_cache
def installed_names() -> tuple[str, ...]:
    """The names of all installed workloads, sorted; looked up once, as above."""
    return tuple(workload_names())


@lru_cache
def full_model(name: str, section: type[Section]) -> type[JobFile]:
    """The model of a workload's job files; without required keys its section may be left out."""
    required = any(field.is_required() for field in section.model_fields.values())
    default: dict[str, Any] = {} if required else {"default_factory": section}
    info: FieldInfo = Field(alias=name, description=f"Settings of workload {name}.", **default)
    fields: dict[str, Any] = {field_name(name): (section, info)}
    return create_model("JobFile", __base__=JobFile, __module__=__name__, **fields)

"""What a cluster of other machines is sent with a job: this Covey, and the job's `code:` folder.

Ray unpacks both on every node before it starts a process there, and sends nothing twice to one
cluster. What Covey leans on (Ray, torch, ...) must be installed there.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from covey.platform import errors
from covey.platform.jobs.launcher import CannotStart
from covey.platform.runs.folder import RunFolder

LEFT_OUT = ["__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"]


def shipped(run_dir: Path) -> dict[str, object]:
    """The parts of a Ray runtime environment for the job of a run folder. CannotStart when its code
    is not where the job file says.
    """
    parts: dict[str, object] = {"py_modules": _our_package(), "excludes": LEFT_OUT}
    code = RunFolder.open(run_dir).job().code
    if code is not None:
        if not Path(code).is_dir():
            raise CannotStart(f"code: {code} is no folder (any more) on the scheduler's machine")
        parts["working_dir"] = code
    return parts


def _our_package() -> list[str]:
    """The folder `covey`, and beside it what tells which entry points it has."""
    package = Path(errors.__file__).parents[1]
    try:
        found = distribution("covey")
        about = Path(str(found.locate_file(f"covey-{found.version}.dist-info")))
    except PackageNotFoundError:
        return [str(package)]
    return [str(package), *([str(about)] if about.is_dir() else [])]

"""What a cluster of other machines is sent with a job: this Covey, the job's `code:` folder, and
other folders of code that it names, as that of a Flower app.

Ray unpacks all of it on every node before it starts a process there, and sends nothing twice to one
cluster. What Covey leans on (Ray, torch, ...) must be installed there. Over there `sent_folders.py`
finds what was sent.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from covey.platform import errors
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.jobs.launcher import CannotStart
from covey.platform.kubernetes.job_files import app_folders
from covey.platform.runs.folder import RunFolder
from covey.platform.sent_folders import PACKAGE, TABLE

LEFT_OUT = ["__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"]


@contextmanager
def shipped(run_dir: Path) -> Iterator[dict[str, object]]:
    """The parts of a Ray runtime environment for the job of a run folder, to be sent meanwhile.
    CannotStart when its code is not where the job file says.
    """
    try:
        job = RunFolder.open(run_dir).job()
    except UserError as error:
        raise CannotStart(f"on the scheduler's machine {error}") from error
    parts: dict[str, object] = {"excludes": LEFT_OUT}
    if job.code is not None:
        parts["working_dir"] = job.code
    with TemporaryDirectory() as folder:
        yield parts | {"py_modules": [*_our_package(), *_package_of(job, Path(folder))]}


def _package_of(job: JobFile, folder: Path) -> list[str]:
    """A package, made in `folder`, with the job's other folders and a table of them all. Never the
    folders themselves: Ray tells packages apart by their contents alone, not by their names.
    """
    names = {path: f"app-{number}" for number, path in enumerate(app_folders(job))}
    if job.code is None and not names:
        return []
    package = folder / PACKAGE
    package.mkdir()
    for path, name in names.items():
        (package / name).symlink_to(path)  # Ray follows it
    table = {"code": job.code, "folders": names}
    (package / TABLE).write_text(json.dumps(table), encoding="utf-8")
    return [str(package)]


def _our_package() -> list[str]:
    """The folder `covey`, and beside it what tells which entry points it has."""
    package = Path(errors.__file__).parents[1]
    try:
        found = distribution("covey")
        about = Path(str(found.locate_file(f"covey-{found.version}.dist-info")))
    except PackageNotFoundError:
        return [str(package)]
    return [str(package), *([str(about)] if about.is_dir() else [])]

"""Folders of a job that came with it to another machine: where they are there.

`jobs/shipping.py` sends them. On a machine that is not the user's a path of the job file stands for
what was sent, also where something else lies under that path; everywhere else it is what it says.
"""

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "covey_sent"
"""What is sent is found as a package of this name."""
TABLE = "folders.json"
"""In it: `code`, the path in the job file of what is on the import path already, and `folders`, the
names in the package of others by their paths in the job file.
"""


def here(folder: Path) -> Path:
    """Where a folder that the job file names lies on this machine; it need not be there."""
    package, table = _sent()
    name = table["folders"].get(str(folder))
    return package / name if name else folder


def is_here(folder: Path) -> bool:
    """Whether there is such a folder on this machine, or it was sent."""
    return _sent()[1]["code"] == str(folder) or os.path.isdir(here(folder))


def show_code(folder: str) -> None:
    """Put the job's `code:` folder first on the import path, where it is not yet."""
    if _sent()[1]["code"] != folder and folder not in sys.path:
        sys.path.insert(0, folder)


def _sent() -> tuple[Path, Mapping[str, Any]]:
    """The package that was sent, and its table; an empty one where there is no package."""
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        table = Path(place, TABLE)
        if table.is_file():
            return Path(place), json.loads(table.read_text(encoding="utf-8"))
    return Path(), {"code": None, "folders": {}}

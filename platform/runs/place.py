"""Which place a run's checkpoints have: its own folder, or one under the job's `checkpoint.path`.

Such a place is made up once, when the run's first attempt begins, and noted in the run folder: it
holds a random part, so that two runs of one name never share one.
"""

import json
import os
from pathlib import Path

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.durable import write_whole
from covey.platform.runs.shelf import LocalShelf, Shelf

PLACE = "place.json"


def claim_place(checkpoints: Path, job: JobFile) -> None:
    """Note where the run's checkpoints are to be, unless it is noted already."""
    if job.checkpoint.path is None or _noted(checkpoints) is not None:
        return
    root = job.checkpoint.path.rstrip("/")
    place = f"{root}/{job.name}-{os.urandom(6).hex()}"
    write_whole(checkpoints / PLACE, json.dumps({"place": place}).encode())


def shelf_of(checkpoints: Path, attempt: int | None = None) -> Shelf:
    """The shelf of a run whose own folder for checkpoints is given; for an attempt that has claimed
    the run, or for readers.
    """
    place = _noted(checkpoints)
    if place is None:
        return LocalShelf(checkpoints)
    if "://" not in place or place.startswith(("file://", "local://")):
        return LocalShelf(Path("/", place.partition("://")[2] or place), shared=True)
    from covey.platform.runs.object_shelf import ObjectShelf

    if attempt is None:
        return ObjectShelf(place)
    return ObjectShelf(place, checkpoints, attempt)


def _noted(checkpoints: Path) -> str | None:
    file = checkpoints / PLACE
    try:
        return str(json.loads(file.read_bytes())["place"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: it told where the run's checkpoints are") from error

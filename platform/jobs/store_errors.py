"""What a database's complaint means to the person who meets it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covey.platform.errors import UserError

_MEANINGS = {
    "disk is full": "no room left on the disk; free some and try again",
    "No space left": "no room left on the disk; free some and try again",
    "disk I/O error": "the disk cannot be read or written (is it full?)",
    "not a database": "is not a job store; move it away, or set COVEY_HOME to another folder",
    "malformed": "is damaged; move it away, or set COVEY_HOME to another folder",
    "readonly": "cannot be written; check its owner and permissions",
    "unable to open": "cannot be opened; check the folder's owner and permissions",
    "File exists": "its folder is a file; set COVEY_HOME to a folder",
    "Not a directory": "its folder is a file; set COVEY_HOME to a folder",
    "locked": "stayed locked by another process; try again",
    "no such": "is not a job store of this version; set COVEY_HOME to another folder",
}


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turns what a user can mend about the file at `path` into a UserError."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, sqlite3.DatabaseError) and type(error) not in (
            sqlite3.DatabaseError,
            sqlite3.OperationalError,
        ):
            raise  # a broken constraint or a wrong statement is a defect of ours
        meaning = next((text for key, text in _MEANINGS.items() if key in str(error)), str(error))
        raise UserError(f"{path}: {meaning}") from error

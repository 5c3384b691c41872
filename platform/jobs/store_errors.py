"""What a database's complaint means to the person who meets it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError, OperationalError

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
    except (DatabaseError, sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, DatabaseError) and type(error) not in (
            DatabaseError,
            OperationalError,
        ):
            raise  # a broken constraint or a wrong statement is a defect of ours
        cause = error.orig if isinstance(error, DatabaseError) else error
        meaning = next((text for key, text in _MEANINGS.items() if key in str(cause)), str(cause))
        raise UserError(f"{path}: {meaning}") from error

"""Writing that a crash cannot leave half done: files appear whole under their name or not at
all.
"""

import os
from pathlib import Path

LEFTOVER = ".partial"
"""How the name of a file or folder ends that is still being written; it also begins with a dot."""


def write_whole(path: Path, data: bytes, lasting: bool = True) -> None:
    """Put `data` at `path` in one step, kept across a power cut if it is to be `lasting`, which
    takes the disk's time. Raises OSError and leaves nothing behind.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{LEFTOVER}")
    try:
        with beside.open("wb") as out:
            out.write(data)
            if lasting:
                sync_file(out.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def sync_file(descriptor: int) -> None:
    """Wait until a file's content is on the disk: without it a renamed file may be empty after a
    power cut.
    """
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: a rename is in the folder, not in the
    file.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a name is that of something a writer left unfinished."""
    return path.name.startswith(".") and path.name.endswith(LEFTOVER)

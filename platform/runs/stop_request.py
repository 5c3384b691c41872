"""A request to stop that lies in the run folder, for an attempt that no signal of ours can reach.

An attempt in another pod or on another machine shares nothing with its scheduler but the folder.
The file is there from the attempt's start and is written in place: a network file system tells a
reader that opens a file what is in it now, but may keep for a minute that there was none.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = ".stop"
_LOOK_EVERY_S = 0.5


def ask(run_dir: Path, attempt: int) -> None:
    """Ask that attempt to end with a last checkpoint. Raises OSError."""
    (run_dir / FILE).write_text(json.dumps({"attempt": attempt, "at_s": time.time()}))


def asked_at_s(run_dir: Path, attempt: int) -> float | None:
    """When that attempt was asked to end, in seconds since the epoch; None if it was not."""
    try:
        request = json.loads((run_dir / FILE).read_bytes())
        return float(request["at_s"]) if request["attempt"] == attempt else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # none, or one that is being written


@contextmanager
def heeded(run_dir: Path, attempt: int, stop: Callable[[], None]) -> Iterator[None]:
    """Inside this, `stop` is called from a thread of its own once the attempt is asked to end."""
    try:
        (run_dir / FILE).touch()
    except OSError:  # a full disk is told by what must be written
        pass
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            if asked_at_s(run_dir, attempt) is not None:
                stop()
                return

    watcher = threading.Thread(target=watch, name="stop request", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()

"""One folder of an object store, through fsspec: a few verbs, and errors that say what to do.

Nothing is renamed or appended to. Every verb is tried once; `patiently` tries again.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from covey.platform.errors import UserError

PAUSES_S = (0.5, 1.5, 4.0)
"""Before the second, third and fourth try of what failed for a reason that may pass."""
_OPTIONS: dict[str, dict[str, Any]] = {
    # Its own defaults: a minute until a dead server is given up, four times; half a gigabyte held
    # for one large file.
    "s3": {
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 30,
            "retries": {"max_attempts": 1},
        },
        "max_concurrency": 2,
    }
}
_OPTIONS["s3a"] = _OPTIONS["s3"]
_MISTAKES = (FileNotFoundError, PermissionError, NotImplementedError, ValueError)
# Each store's package has error classes of its own, with names that say as much.
_MISTAKES_NAMES = ("Credential", "Profile", "ParamValidation", "Region")

Result = TypeVar("Result")


class StoreFailed(OSError):
    """The store has not done what it was asked. `by_user`: trying again would not help, but the
    user can mend it (no such bucket, wrong credentials).
    """

    def __init__(self, url: str, error: Exception) -> None:
        text = (isinstance(error, OSError) and error.strerror) or str(error)
        super().__init__(errno.EIO, f"{url}: {' '.join(text.split()) or type(error).__name__}")
        self.by_user = (
            isinstance(error, _MISTAKES)
            or (isinstance(error, OSError) and error.errno == errno.EINVAL)
            or any(word in type(error).__name__ for word in _MISTAKES_NAMES)
        )


def patiently(act: Callable[[], Result], pause: Callable[[float], None] = time.sleep) -> Result:
    """What `act` returns, tried again a few times while it fails for a reason that may pass."""
    for pause_s in PAUSES_S:
        try:
            return act()
        except StoreFailed as failed:
            if failed.by_user:
                raise
        pause(pause_s)
    return act()


class ObjectStore:
    """The files under `url`; their names are relative to it. Connects when first used."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[Any, str] | None = None

    def sizes(self) -> dict[str, int]:
        """Every file, with its size in bytes."""
        with self._telling() as (files, root):
            found = files.find(root, detail=True)
            return {name[len(root) :].lstrip("/"): info["size"] for name, info in found.items()}

    def read(self, name: str, most: int) -> bytes:
        """A file's first `most` bytes. FileNotFoundError when there is none."""
        with self._finding(name) as (files, path):
            data: bytes = files.cat_file(path, start=0, end=most)
            return data

    def fetch(self, name: str, into: Path) -> None:
        """Copy a file to this machine. FileNotFoundError when there is none."""
        with self._finding(name) as (files, path):
            files.get_file(path, str(into))

    def write(self, name: str, data: bytes) -> None:
        """Put a short file there, whole or not at all."""
        with self._telling() as (files, root):
            files.pipe_file(f"{root}/{name}", data)

    def send(self, file: Path, name: str) -> None:
        """Copy a file of this machine there, whole or not at all."""
        with self._telling() as (files, root):
            files.put_file(str(file), f"{root}/{name}")

    def delete(self, names: Iterable[str]) -> None:
        """Take files away; it is no error when they are gone already."""
        with self._telling() as (files, root):
            for name in names:
                with suppress(FileNotFoundError):
                    files.rm_file(f"{root}/{name}")

    @contextmanager
    def _finding(self, name: str) -> Iterator[tuple[Any, str]]:
        """Lets through that a file is missing."""
        missing: FileNotFoundError | None = None
        with self._telling() as (files, root):
            try:
                yield files, f"{root}/{name}"
            except FileNotFoundError as error:
                missing = error
        if missing is not None:
            raise missing

    @contextmanager
    def _telling(self) -> Iterator[tuple[Any, str]]:
        """What goes wrong with the store in one form, whatever package it comes from."""
        if self._opened is None:
            self._opened = _open(self.url)
        try:
            yield self._opened
        except Exception as error:
            raise StoreFailed(self.url, error) from error


def _open(url: str) -> tuple[Any, str]:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise UserError(f"checkpoint.path {url}: {error}") from error
    try:
        # Others write there too: no listing is remembered.
        files = kind(use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        return files, str(files._strip_protocol(url)).rstrip("/")
    except Exception as error:
        raise StoreFailed(url, error) from error

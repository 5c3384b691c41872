"""The shelf of a run's checkpoints, `checkpoints/`: one folder a step, and `latest`, a link to
one.

A checkpoint is written under a hidden name, renamed, then `latest` is turned to it and older ones
are taken away: at every moment either the old or the new one is there, whole. Names that begin
with a dot are work in hand; `<step>.damaged` was found not to be whole.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from covey.platform.errors import UserError
from covey.platform.runs.checkpoint import Checkpoint, Damaged, folder_name, looks_whole, verify
from covey.platform.runs.durable import LEFTOVER, sync_folder

LATEST = "latest"
_STEP_NAME = re.compile(r"\d{12,}")
_DAMAGED_NAME = re.compile(r"(\d{12,})\.damaged")


Held = Callable[[], AbstractContextManager[None]]
"""The fence of a run folder: write inside it (see `Fence.held`)."""


class Shelf(Protocol):
    """Where a run keeps its checkpoints. All but `newest_whole` is for its writer alone."""

    staging: Path
    """A local folder to write the next one into, under a hidden name."""

    def settle(self, held: Held) -> None:
        """Make ready, and clear up after a killed writer. UserError for what its user can mend."""

    def publish(self, written: Path, step: int, keep: int, held: Held) -> None:
        """Make a written folder the newest checkpoint, and take all but the `keep` newest whole
        ones away. Raises OSError, and what was there stays.
        """

    def newest_whole(
        self, on_damaged: Callable[[Damaged], None] = lambda damaged: None
    ) -> Checkpoint | None:
        """The newest checkpoint that agrees with its manifest; `on_damaged` hears of newer ones
        that do not.
        """

    def set_aside(self, damaged: Damaged, held: Held) -> None:
        """See that a damaged one is neither taken for a whole one nor lost at once."""


class LocalShelf:
    """A shelf in a folder, of the run itself or (`shared`) under one that must be there."""

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.staging = path
        self._shared = shared

    def settle(self, held: Held) -> None:
        if self._shared and not self.staging.parent.is_dir():
            raise UserError(f"checkpoint.path {self.staging.parent}: no such folder")
        with held():
            try:
                self.staging.mkdir(exist_ok=True)
            except PermissionError as error:
                raise UserError(f"checkpoint.path {self.staging}: {error.strerror}") from error
            settle(self.staging)

    def publish(self, written: Path, step: int, keep: int, held: Held) -> None:
        try:
            with held():
                old = publish(written, self.staging, step, keep)
        except OSError:
            with suppress(OSError), held():
                settle(self.staging)
            raise
        remove(old)

    def newest_whole(
        self, on_damaged: Callable[[Damaged], None] = lambda damaged: None
    ) -> Checkpoint | None:
        return newest_whole(self.staging, on_damaged)

    def set_aside(self, damaged: Damaged, held: Held) -> None:
        with held():
            set_aside(self.staging / damaged.file.parent.name)
            settle(self.staging)


def hidden_name(step: int, attempt: int) -> str:
    """What a checkpoint's folder is called while it is written."""
    return f".{folder_name(step)}.{attempt}{LEFTOVER}"


def publish(written: Path, checkpoints: Path, step: int, keep: int) -> list[Path]:
    """Give a written folder its name, turn `latest` to it, take all but the `keep` newest whole
    ones away.

    Only renames, so it is quick; returns the folders that are left to be removed with `remove`.
    """
    target = checkpoints / folder_name(step)
    old: list[Path] = []
    if target.exists():
        # `settle` puts it back, should we be killed before the next rename.
        old.append(_hide(target, "replaced"))
    written.rename(target)
    sync_folder(checkpoints)
    point_latest(checkpoints, target.name)
    return old + _set_old_aside(checkpoints, keep)


def point_latest(checkpoints: Path, name: str) -> None:
    """Turn `latest` to the checkpoint folder `name` in one step."""
    latest = checkpoints / LATEST
    if latest.is_symlink() and latest.readlink() == Path(name):
        return
    link = checkpoints / f".{LATEST}{LEFTOVER}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    _remove_copy(latest)
    link.replace(latest)
    sync_folder(checkpoints)


def remove(folders: list[Path]) -> None:
    """Remove folders that `publish` set aside; what cannot be removed now goes with the next
    `settle`.
    """
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def settle(checkpoints: Path) -> None:
    """Clear up after a writer that was killed: half-written folders go, `latest` points to the
    newest one.
    """
    if not checkpoints.is_dir():
        return
    for entry in checkpoints.glob(".*"):
        target = checkpoints / entry.name[1:].removesuffix(".replaced")
        if entry.name.endswith(".replaced") and not target.exists():
            entry.rename(target)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
    for path in _newest_first(checkpoints):
        if looks_whole(path):
            point_latest(checkpoints, path.name)
            return
    _remove_copy(checkpoints / LATEST)
    (checkpoints / LATEST).unlink(missing_ok=True)


def newest_whole(
    checkpoints: Path, on_damaged: Callable[[Damaged], None] = lambda damaged: None
) -> Checkpoint | None:
    """The newest checkpoint that agrees with its manifest; `on_damaged` hears of newer ones that
    do not.
    """
    while True:
        candidates = _newest_first(checkpoints)
        for path in candidates:
            try:
                return verify(path)
            except Damaged as damaged:
                on_damaged(damaged)
        # A reader beside a live run may have seen only folders that were pruned under its eyes.
        if candidates == _newest_first(checkpoints) or not candidates:
            return None


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is neither taken for a whole one nor lost at once."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    sync_folder(path.parent)


def _newest_first(checkpoints: Path) -> list[Path]:
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if _STEP_NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _set_old_aside(checkpoints: Path, keep: int) -> list[Path]:
    newest = _newest_first(checkpoints)
    whole = [path for path in newest if looks_whole(path)][:keep]
    # With fewer whole ones than `keep` nothing but what was found damaged before may go.
    old = newest[newest.index(whole[-1]) + 1 :] if len(whole) == keep else []
    damaged = [path for path in checkpoints.iterdir() if _DAMAGED_NAME.fullmatch(path.name)]
    # Renamed first: a removal that is cut short must not look like a damaged checkpoint.
    return [_hide(path, "pruned") for path in old + damaged]


def _remove_copy(latest: Path) -> None:
    """A copy of a run folder that followed links has a real folder in the link's place."""
    if latest.is_dir() and not latest.is_symlink():
        shutil.rmtree(latest)


def _hide(path: Path, why: str) -> Path:
    hidden = path.with_name(f".{path.name}.{why}")
    shutil.rmtree(hidden, ignore_errors=True)
    return path.rename(hidden)

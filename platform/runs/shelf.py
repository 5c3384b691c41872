"""The shelf of a run's checkpoints, `checkpoints/`: one folder a step, and `latest`, a link to
one.

A checkpoint is written under a hidden name, renamed, then `latest` is turned to it and older ones
are taken away: at every moment either the old or the new one is there, whole. Names that begin
with a dot are work in hand; `<step>.damaged` was found not to be whole.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from covey.platform.runs.checkpoint import Checkpoint, Damaged, folder_name, looks_whole, verify
from covey.platform.runs.durable import LEFTOVER, sync_folder

LATEST = "latest"
_STEP_NAME = re.compile(r"\d{12,}")
_DAMAGED_NAME = re.compile(r"(\d{12,})\.damaged")


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

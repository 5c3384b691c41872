"""A run's checkpoints in an object store, where nothing can be renamed.

PLACE/<step>.<attempt>.<number>/ holds one checkpoint: its parts are sent first, its manifest last,
and its manifest is the first to be taken away. No name is ever used twice, so a late write of an
older attempt can neither overwrite a newer attempt's nor be taken for it: the newest is that of the
newest attempt. PLACE/attempt.json tells which attempt may write. What is not named like this is
somebody else's.
"""

import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from covey.platform.errors import Superseded, UserError
from covey.platform.runs.checkpoint import (
    MANIFEST,
    MANIFEST_BYTES,
    Checkpoint,
    Damaged,
    Manifest,
    check_size,
    folder_name,
    parse_manifest,
    verify,
)
from covey.platform.runs.object_store import ObjectStore, StoreFailed, patiently
from covey.platform.runs.shelf import Held

CLAIM = "attempt.json"
DAMAGED = "damaged.txt"
"""Beside the parts of a checkpoint that was found damaged: it is no checkpoint any more."""
_CLAIM_BYTES = 2**12
_NAME = re.compile(r"(\d{12,})\.(\d+)\.(\d+)")

Sizes = Mapping[str, int]


class Entry(NamedTuple):
    """A checkpoint, or what is there of one. Sorted, the newest is the last."""

    attempt: int
    number: int
    step: int

    @property
    def name(self) -> str:
        return f"{folder_name(self.step)}.{self.attempt}.{self.number}"


class ObjectShelf:
    """The shelf at `place`, for readers; with an `attempt`, for a run that has claimed its folder.

    Checkpoints come from and go through local folders: `staging` where a run has one.
    """

    def __init__(self, place: str, staging: Path | None = None, attempt: int = 0) -> None:
        self._store = ObjectStore(place)
        self._attempt = attempt
        self._scratch = staging
        self._number = 0
        self._claimed = False
        self._claim = json.dumps({"attempt": attempt, "writer": os.urandom(8).hex()}).encode()
        self.staging = staging or Path(tempfile.gettempdir())

    def settle(self, held: Held) -> None:
        """Claim the place and clear up after a killed writer. UserError for what its user can mend:
        no such bucket, no right to write there.
        """

        def claim() -> None:
            with held():
                self._store.write(CLAIM, self._claim)

        try:
            patiently(claim)
            entries = self._entries()
        except StoreFailed as failed:
            if failed.by_user:
                raise UserError(f"checkpoint.path {failed.strerror}") from failed
            raise
        self._claimed = True
        mine = [entry.number for entry in entries if entry.attempt == self._attempt]
        self._number = max([self._number, *mine])
        left = {entry: files for entry, files in entries.items() if self._is_leftover(entry, files)}
        with suppress(StoreFailed):
            self._take_away(left, held)

    def publish(self, written: Path, step: int, keep: int, held: Held) -> None:
        """Send a written folder, then take all but the `keep` newest whole ones away."""
        if not self._claimed:  # a workload that has not asked for a checkpoint to go on from
            self.settle(held)
        self._number += 1
        name = Entry(self._attempt, self._number, step).name
        parts = sorted(path.name for path in written.iterdir() if path.name != MANIFEST)
        for part in parts:
            patiently(partial(self._store.send, written / part, f"{name}/{part}"))

        def seal() -> None:
            with held():  # no newer attempt may begin before this has arrived
                self._check_claim()
                self._store.send(written / MANIFEST, f"{name}/{MANIFEST}")

        try:
            patiently(seal)
        except Superseded:
            with suppress(StoreFailed):
                self._store.delete([f"{name}/{part}" for part in parts])
            raise
        shutil.rmtree(written, ignore_errors=True)
        with suppress(StoreFailed):  # the next one is followed by the same
            self._prune(keep, held)

    def newest_whole(
        self, on_damaged: Callable[[Damaged], None] = lambda damaged: None
    ) -> Checkpoint | None:
        """A local copy of the newest checkpoint that agrees with its manifest, removed with the
        object. `on_damaged` hears of newer ones that do not agree. Raises StoreFailed.
        """
        while True:
            entries = self._entries()
            candidates = _newest_first(entries)
            for entry in candidates:
                try:
                    return self._fetch(entry, entries[entry])
                except Damaged as damaged:
                    on_damaged(damaged)
            # A reader beside a live run may have seen only what was pruned under its eyes.
            if not candidates or candidates == _newest_first(self._entries()):
                return None

    def set_aside(self, damaged: Damaged, held: Held) -> None:
        """Mark a damaged checkpoint, so that it is neither taken for a whole one nor lost at
        once.
        """
        name = damaged.file.parent.name

        def mark() -> None:
            with held():
                self._store.write(f"{name}/{DAMAGED}", str(damaged).encode())
                self._store.delete([f"{name}/{MANIFEST}"])

        patiently(mark)

    def _entries(self) -> dict[Entry, dict[str, int]]:
        found: dict[Entry, dict[str, int]] = {}
        for path, size in patiently(self._store.sizes).items():
            name, _, file = path.partition("/")
            if match := _NAME.fullmatch(name):
                step, attempt, number = map(int, match.groups())
                found.setdefault(Entry(attempt, number, step), {})[file] = size
        return found

    def _manifest(self, entry: Entry, sizes: Sizes) -> Manifest:
        """That of a checkpoint whose parts have its sizes. Raises Damaged."""
        folder = PurePosixPath(entry.name)
        file = folder / MANIFEST
        if not sizes[MANIFEST]:
            raise Damaged(file, "empty")
        try:
            text = patiently(partial(self._store.read, str(file), MANIFEST_BYTES + 1))
        except FileNotFoundError as error:
            raise Damaged(file, "missing") from error
        manifest = parse_manifest(file, text)
        for part, noted in manifest["parts"].items():
            check_size(folder / part, sizes.get(part), noted["size"])
        return manifest

    def _fetch(self, entry: Entry, sizes: Sizes) -> Checkpoint:
        """Raises Damaged with names as they are in the store."""
        manifest = self._manifest(entry, sizes)
        home = Path(tempfile.mkdtemp(prefix=".fetched-", dir=self._scratch))
        try:
            folder = home / folder_name(entry.step)
            folder.mkdir()
            for part in (*manifest["parts"], MANIFEST):
                patiently(partial(self._store.fetch, f"{entry.name}/{part}", folder / part))
            checkpoint = verify(folder)
        except FileNotFoundError as error:
            _remove(home, os.getpid())
            raise Damaged(PurePosixPath(entry.name, part), "missing") from error
        except Damaged as damaged:
            _remove(home, os.getpid())
            file = PurePosixPath(entry.name, damaged.file.name)
            raise Damaged(file, damaged.why) from damaged
        except BaseException:
            _remove(home, os.getpid())
            raise
        weakref.finalize(checkpoint, _remove, home, os.getpid())
        return checkpoint

    def _check_claim(self) -> None:
        """The run folder's fence knows nothing of a copy of the folder, nor of one on a disk whose
        locks reach no other machine.
        """
        try:
            found = self._store.read(CLAIM, _CLAIM_BYTES)
        except FileNotFoundError:
            return
        if found != self._claim:
            raise Superseded(
                f"{self._store.url} was claimed by another attempt ({CLAIM} there): "
                f"attempt {self._attempt} ends"
            )

    def _prune(self, keep: int, held: Held) -> None:
        entries = self._entries()
        whole: dict[int, Entry] = {}  # by step
        old = {e: f for e, f in entries.items() if self._is_leftover(e, f) or DAMAGED in f}
        for entry in _newest_first(entries):
            if len(whole) == keep or entry.step in whole:
                old[entry] = entries[entry]
                continue
            # What is not whole stays until there are enough that are.
            with suppress(Damaged):
                self._manifest(entry, entries[entry])
                whole[entry.step] = entry
        self._take_away(old, held)

    def _is_leftover(self, entry: Entry, files: Sizes) -> bool:
        begun = MANIFEST not in files and DAMAGED not in files
        return begun and entry.attempt <= self._attempt

    def _take_away(self, entries: Mapping[Entry, Sizes], held: Held) -> None:
        for entry, files in entries.items():
            # A removal that is cut short must not look like a damaged checkpoint.
            with held():
                self._store.delete([f"{entry.name}/{MANIFEST}"])
            last = [file for file in files if file == DAMAGED]
            others = [file for file in files if file not in (MANIFEST, DAMAGED)]
            self._store.delete(f"{entry.name}/{file}" for file in others + last)


def _newest_first(entries: Mapping[Entry, Sizes]) -> list[Entry]:
    there = [e for e, files in entries.items() if MANIFEST in files and DAMAGED not in files]
    return sorted(there, reverse=True)


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child ends before us, and has the same object
        shutil.rmtree(folder, ignore_errors=True)

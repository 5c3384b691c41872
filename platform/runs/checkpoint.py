"""One checkpoint on disk: a folder of parts, and a manifest of their sizes and SHA-256 written
last.

Without a whole manifest there is no checkpoint. How a run keeps several of them is `shelf.py`'s
matter.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from covey.platform.runs.durable import sync_file, sync_folder
from covey.platform.runs.tensors import Arrays, check_arrays, check_file, encode_arrays, read_arrays

Part = Arrays | bytes
"""A file of a checkpoint: named arrays for `*.safetensors`, ready bytes for anything else."""

MANIFEST = "manifest.json"
MANIFEST_BYTES = 2**24
"""No manifest of ours comes near: a larger one is not read into memory."""
_TENSORS = ".safetensors"
_PART_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Damaged(Exception):
    """A checkpoint that is not whole. `file` is the part (or manifest) that shows it."""

    def __init__(self, file: PurePath, why: str) -> None:
        super().__init__(f"{file.parent.name}/{file.name}: {why}")
        self.file = file
        self.why = why


class _Entry(TypedDict):
    size: int
    sha256: str


class Manifest(TypedDict):
    """What `manifest.json` says, but for the SHA-256 of itself."""

    step: int
    wall_s: float
    parts: dict[str, _Entry]


@dataclass(frozen=True)
class Checkpoint:
    """A whole, verified checkpoint. `wall_s` is the training time that went into it."""

    step: int
    wall_s: float
    path: Path

    def __contains__(self, part: str) -> bool:
        """Whether it has a part of that name."""
        return (self.path / part).is_file()

    def arrays(self, part: str) -> dict[str, NDArray[np.generic]]:
        """The named arrays of a `*.safetensors` part."""
        return read_arrays(self.path / part)

    def read(self, part: str) -> bytes:
        """The bytes of any part."""
        return (self.path / part).read_bytes()


def folder_name(step: int) -> str:
    """A step as the name of its folder."""
    return f"{step:012d}"


def check_parts(parts: Mapping[str, Part]) -> None:
    """Raises ValueError for parts that could not be written or read back."""
    for name, part in parts.items():
        if not _PART_NAME.fullmatch(name) or name == MANIFEST:
            raise ValueError(f"{name!r} cannot be the name of a checkpoint's part")
        if isinstance(part, bytes) == name.endswith(_TENSORS):
            raise ValueError(f"{name}: arrays go into *{_TENSORS} files, bytes into others")
        if not isinstance(part, bytes):
            check_arrays(part)


def write_parts(folder: Path, step: int, wall_s: float, parts: Mapping[str, Part]) -> int:
    """Write a checkpoint into the empty folder `folder`, manifest last; returns its size in bytes.

    Raises OSError (a full disk, say) and removes the folder then.
    """
    try:
        entries = {name: _write_part(folder / name, part) for name, part in sorted(parts.items())}
        manifest: Manifest = {"step": step, "wall_s": wall_s, "parts": entries}
        sealed = json.dumps({**manifest, "sha256": _seal(manifest)}, sort_keys=True, indent=1)
        _write(folder / MANIFEST, [memoryview(sealed.encode())])
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sum(entry["size"] for entry in entries.values())


def verify(path: Path) -> Checkpoint:
    """Compare a checkpoint with its manifest, sizes first. Raises Damaged."""
    manifest = _read_manifest(path)
    if path.resolve().name != folder_name(manifest["step"]):
        raise Damaged(path / MANIFEST, f"it belongs to step {manifest['step']}")
    for name, entry in manifest["parts"].items():
        part = path / name
        check_size(part, _size(part), entry["size"])
        if _digest(part) != entry["sha256"]:
            raise Damaged(part, "its SHA-256 is not the manifest's")
        if name.endswith(_TENSORS):
            try:
                check_file(part)
            except ValueError as error:
                raise Damaged(part, str(error)) from error
    return Checkpoint(manifest["step"], manifest["wall_s"], path)


def looks_whole(path: Path) -> bool:
    """Whether the manifest is whole and every part has its size: `verify` without reading the
    parts.
    """
    try:
        for name, entry in _read_manifest(path)["parts"].items():
            check_size(path / name, _size(path / name), entry["size"])
    except Damaged:
        return False
    return True


def parse_manifest(file: PurePath, text: bytes) -> Manifest:
    """What a manifest says, given its first `MANIFEST_BYTES` + 1 bytes. Raises Damaged."""
    if len(text) > MANIFEST_BYTES:
        raise Damaged(file, f"longer than {MANIFEST_BYTES:,} bytes")
    try:
        document = json.loads(text)
        seal = document.pop("sha256")
        manifest = cast(Manifest, document)
        if seal != _seal(manifest):
            raise Damaged(file, "its own SHA-256 does not fit")
        if not all(_PART_NAME.fullmatch(name) for name in manifest["parts"]):
            raise Damaged(file, "it names files outside the checkpoint")
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise Damaged(file, f"cannot be read ({error})") from error
    return manifest


def check_size(part: PurePath, found: int | None, size: int) -> None:
    """Raises Damaged unless a part has the manifest's size. `found` None: it is missing."""
    if found is None:
        raise Damaged(part, "missing")
    if found != size:
        raise Damaged(part, f"{found} bytes long, {size} in the manifest")


def _write_part(path: Path, part: Part) -> _Entry:
    return _write(path, [memoryview(part)] if isinstance(part, bytes) else encode_arrays(part))


def _write(path: Path, pieces: Iterable[memoryview]) -> _Entry:
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for piece in pieces:
            digest.update(piece)
            out.write(piece)
        size = out.tell()
        out.flush()
        sync_file(out.fileno())
    return {"size": size, "sha256": digest.hexdigest()}


def _seal(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        with file.open("rb") as source:
            text = source.read(MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise Damaged(file, "missing") from error
    except OSError as error:
        raise Damaged(file, f"cannot be read ({error})") from error
    return parse_manifest(file, text)


def _size(part: Path) -> int | None:
    try:
        return part.stat().st_size
    except OSError:
        return None


def _digest(part: Path) -> str:
    try:
        with part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(part, f"cannot be read ({error})") from error

"""How a vector travels: a header in the call's metadata, then its bytes in chunks.

The header comes first and alone, so a vector of the wrong kind, size or sender is refused before
any memory is taken for it. Every chunk has `CHUNK` bytes but the last, which has the rest.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from covey.federation.p2p.peer_files import PeerName
from covey.federation.p2p.wire_refusal import Refused

CHUNK = 2**20
HEADER_KEY = "covey-header-bin"
MAX_HEADER = 4_096
Vector = NDArray[Any]
Whole = Annotated[int, Field(ge=0, lt=2**62)]


class Wired(BaseModel):
    """What goes over the wire as JSON: no unknown keys, no silent conversions, short."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def encoded(self) -> bytes:
        """As JSON; ValueError when it would be longer than the other side takes."""
        text = self.model_dump_json().encode()
        if len(text) > MAX_HEADER:
            raise ValueError(f"{len(text)} bytes of header, at most {MAX_HEADER} are possible")
        return text


class Header(Wired):
    """Of one vector."""

    run: PeerName
    sender: PeerName
    session: Whole
    """Grows each time the sender starts, so what it sent before is known for old."""
    round: Whole
    step: Whole
    """Consensus step within the round."""
    kind: PeerName
    """Which of the forms that both sides know."""
    dtype: Annotated[str, Field(max_length=8)]
    """As numpy writes it, byte order included, e.g. <f4."""
    shape: Annotated[tuple[Annotated[int, Field(ge=1, lt=2**40)], ...], Field(max_length=8)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the bytes."""

    @property
    def size_bytes(self) -> int:
        """Of the vector; only meaningful when its form is known for right."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Form:
    """What vectors of one kind look like; for all peers of a run the same."""

    dtype: str
    """As numpy knows it, e.g. float32."""
    shape: tuple[int, ...]
    exact: bool = True
    """Otherwise the first length may be smaller: compressed messages."""

    def check(self, header: Header) -> None:
        """Refused when the vector that a header announces looks otherwise."""
        if header.dtype != np.dtype(self.dtype).str:
            raise Refused("dtype", f"{header.dtype}, {np.dtype(self.dtype).str} is expected")
        right = header.shape == self.shape or (
            not self.exact
            and header.shape[1:] == self.shape[1:]
            and len(header.shape) == len(self.shape)
            and header.shape[0] <= self.shape[0]
        )
        if not right:
            most = "" if self.exact else " at most"
            raise Refused("shape", f"shape {[*header.shape]}, {[*self.shape]}{most} is expected")


@dataclass(frozen=True)
class Cut:
    """A vector as it is sent: to each neighbour the same bytes, copied once."""

    dtype: str
    shape: tuple[int, ...]
    chunks: Sequence[bytes]
    digest: str

    @property
    def size_bytes(self) -> int:
        """Of all chunks."""
        return sum(len(chunk) for chunk in self.chunks)


def cut(vector: Vector) -> Cut:
    """The chunks and the digest of a vector; it may be changed afterwards."""
    raw = np.ascontiguousarray(vector).data.cast("B")
    chunks = [bytes(raw[at : at + CHUNK]) for at in range(0, len(raw), CHUNK)]
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return Cut(vector.dtype.str, vector.shape, chunks, digest.hexdigest())


def parse_header(data: bytes) -> Header:
    """Refused when it is none."""
    if len(data) > MAX_HEADER:
        raise Refused("header", f"{len(data)} bytes of header, {MAX_HEADER} at most are read")
    try:
        return Header.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part)[:40] for part in first["loc"]) or "it"
        raise Refused("header", f"a header that is none: {place}: {first['msg'][:80]}") from None


def joined(header: Header, chunks: Iterable[bytes]) -> Vector:
    """The vector behind a header whose form was checked.

    Refused when its bytes are too many, too few or not those announced, or a number is not finite.
    """
    vector = np.empty(header.shape, header.dtype)
    flat = vector.reshape(-1)
    raw, at, digest = flat.data.cast("B"), 0, hashlib.sha256()
    for chunk in chunks:
        if not chunk or len(chunk) != min(CHUNK, len(raw) - at):
            raise Refused("size", f"a chunk of {len(chunk)} bytes after {at} of {len(raw)} bytes")
        raw[at : at + len(chunk)] = chunk
        digest.update(chunk)
        part = flat[at // flat.itemsize : (at + len(chunk)) // flat.itemsize]
        if part.dtype.kind in "fc" and not np.isfinite(part).all():
            raise Refused("not-finite", "the vector holds numbers that are not finite")
        at += len(chunk)
    if at < len(raw):
        raise Refused("incomplete", f"{at} of {len(raw)} bytes came; a chunk over {CHUNK} bytes "
                      "or a lost connection ends a message")  # fmt: skip
    if digest.hexdigest() != header.digest:
        raise Refused("digest", "the bytes are not those that the header announced")
    return vector

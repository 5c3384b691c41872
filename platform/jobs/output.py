"""How much is kept of what a driver prints."""

from collections.abc import Iterable

OUTPUT_BYTES = 2**20
OUTPUT_LINES = 20_000


def end_of(pieces: Iterable[bytes], size: int) -> bytes:
    """The last `size` bytes of what may be far longer."""
    end = b""
    for piece in pieces:
        end = (end + piece)[-size:]
    return end

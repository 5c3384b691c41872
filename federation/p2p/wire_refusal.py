"""What a peer does not take from another: why, how often and from whom."""

import threading
from collections import Counter
from collections.abc import Callable

from grpc import StatusCode

Note = Callable[..., None]
"""`note(kind, message, **facts)`: something that happened, for the events of a run."""
MAX_NAMES = 1_000
"""Different (peer, reason) that are counted apart; whoever comes after them is "others"."""

CODES = {
    "handshake": StatusCode.UNAUTHENTICATED,
    "revoked": StatusCode.UNAUTHENTICATED,
    "other-certificate": StatusCode.UNAUTHENTICATED,
    "unknown-peer": StatusCode.PERMISSION_DENIED,
    "not-a-neighbour": StatusCode.PERMISSION_DENIED,
    "other-sender": StatusCode.PERMISSION_DENIED,
    "other-run": StatusCode.FAILED_PRECONDITION,
    "header": StatusCode.INVALID_ARGUMENT,
    "deadline": StatusCode.INVALID_ARGUMENT,
    "kind": StatusCode.INVALID_ARGUMENT,
    "content": StatusCode.INVALID_ARGUMENT,
    "dtype": StatusCode.INVALID_ARGUMENT,
    "shape": StatusCode.INVALID_ARGUMENT,
    "size": StatusCode.INVALID_ARGUMENT,
    "not-finite": StatusCode.INVALID_ARGUMENT,
    "digest": StatusCode.DATA_LOSS,
    "incomplete": StatusCode.CANCELLED,
    "replayed": StatusCode.ALREADY_EXISTS,
}
"""The reasons there are, and the status that tells the other side."""


class Refused(Exception):
    """A call that is turned away, for one of the reasons in `CODES`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.code = CODES[reason]


class NotNow(Exception):
    """A call that is good but too early, or one of too many: the other side is to try again."""


class Refusals:
    """Counted by peer and reason; the first, second, fourth, eighth… of each is an event."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, peer: str, reason: str, text: str, times: int = 1) -> None:
        """One more of this reason from this peer (or address, where no name is known)."""
        with self._lock:
            key = (peer, reason)
            if key not in self._counts and len(self._counts) >= MAX_NAMES:
                key = ("others", reason)
            before, after = self._counts[key], self._counts[key] + times
            self._counts[key] = after
        if before.bit_length() != after.bit_length():
            message = f"refused {peer}: {text}" + (f" ({after:,} times)" if after > 1 else "")
            self._note("refused", message, peer=peer, reason=reason, count=after)

    def by_peer(self) -> dict[str, dict[str, int]]:
        """How often for each peer and reason."""
        peers: dict[str, dict[str, int]] = {}
        with self._lock:
            counts = dict(self._counts)
        for (peer, reason), count in counts.items():
            peers.setdefault(peer, {})[reason] = count
        return peers

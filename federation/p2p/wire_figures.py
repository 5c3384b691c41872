"""Counts of what went over the wire, added to by several threads."""

from collections import Counter
from threading import Lock


class Figures:
    """By name: messages_sent, messages_received, bytes_sent, bytes_received, retries (tries after
    the first), repeated and late (vectors that came again, or after their round), held_back
    (calls that came too early).
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()

    def count(self, **more: int) -> None:
        """Add to the counts of these names."""
        with self._lock:
            self._counts.update(more)

    def view(self) -> dict[str, int]:
        """All that are not 0."""
        with self._lock:
            return dict(self._counts)

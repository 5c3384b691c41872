"""Where the seconds of a round go."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Seconds on the clock, by phase: `configure` (the strategy chooses clients and writes their
    messages), `clients` (they train), `aggregate`, `evaluate` (on clients and on the server).
    """

    NAMES = ("configure", "clients", "aggregate", "evaluate")

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Another round: count from nothing."""
        self._seconds.clear()
        self._began = time.perf_counter()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """The block belongs to this phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def figures(self) -> dict[str, float]:
        """Each phase's seconds, those of the whole round so far, and its rounds/s."""
        round_s = time.perf_counter() - self._began
        phases = {f"{name}_s": self._seconds[name] for name in self.NAMES}
        return {**phases, "round_s": round_s, "rounds_per_s": 1 / round_s}

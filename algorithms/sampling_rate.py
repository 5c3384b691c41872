"""How fast samplers fill their streams, from the times at which they finished their blocks.

Counting what has come by the clock would be off by a block of each sampler, which may take seconds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import stdev

from covey.platform.runtime.stream import Stream

PARTS = 4
"""A measurement's uncertainty is that of the mean of so many parts of it."""


@dataclass(frozen=True)
class Mark:
    """How many blocks a stream had, and when the last of them was finished."""

    blocks: int
    finished_s: float


class SamplingRate:
    """Of these streams from when this is made on, over `seconds`, or until each has another block;
    call `look` now and then.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams, self._seconds, self._clock = streams, seconds, clock
        self.began_s = clock()
        self._marks = [self._all_marks()]

    def look(self) -> bool:
        """Whether it has been long enough."""
        passed = self._clock() - self.began_s
        self._marks.append(self._all_marks())
        return passed >= self._seconds and self._came(self._marks[0], self._marks[-1]) > 0

    def _all_marks(self) -> list[Mark]:
        now_s = self._clock()
        return [mark(stream, now_s) for stream in self._streams]

    @staticmethod
    def _came(first: list[Mark], last: list[Mark]) -> int:
        """Blocks of the stream that has the fewest."""
        return min(b.blocks - a.blocks for a, b in zip(first, last, strict=True))

    def read(self) -> tuple[float, float]:
        """Rows of environments a second, and how uncertain that is, as a part of it."""
        first, last = self._marks[0], self._marks[-1]
        mean = self._rate(first, last)
        cuts = [self._marks[i * (len(self._marks) - 1) // PARTS] for i in range(PARTS + 1)]
        if not mean or any(self._came(*pair) == 0 for pair in pairwise(cuts)):
            return mean, 0.0
        rates = [self._rate(*pair) for pair in pairwise(cuts)]
        return mean, stdev(rates) / mean / PARTS**0.5

    def _rate(self, first: list[Mark], last: list[Mark]) -> float:
        total = 0.0
        for stream, a, b in zip(self._streams, first, last, strict=True):
            rows = (b.blocks - a.blocks) * stream.spec.steps * stream.spec.columns
            total += rows / (b.finished_s - a.finished_s) if rows else 0.0
        return total


def mark(stream: Stream, now_s: float) -> Mark:
    """Where a stream stands; the time is now if it has no block yet."""
    blocks = stream.blocks_written
    last = (blocks - 1) % len(stream.finished_s)
    return Mark(blocks, float(stream.finished_s[last]) if blocks else now_s)


def all_begun(streams: Sequence[Stream]) -> bool:
    """Whether every stream has as many blocks as samplers may be ahead of a learner."""
    return all(stream.blocks_written >= 2 for stream in streams)

"""What a replay draws from: one stream's ring, and which of its rows can be sampled."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.fragment import Rows


class Stream(Protocol):
    """A ring of R rows; absolute row r lies at r % R."""

    @property
    def rows(self) -> Rows: ...

    @property
    def rows_written(self) -> int: ...

    @property
    def oldest_row(self) -> int:
        """Rows before this are overwritten, or may be at any time."""
        ...


class Source:
    """One stream's ring, flat, and which of its rows can be sampled at the moment."""

    def __init__(self, stream: Stream, offset: int) -> None:
        rows = stream.rows
        self._stream, self.offset = stream, offset
        self.ring, self.columns = rows.steps, int(rows.rewards.shape[1])
        self.slots = self.ring * self.columns
        self.valid: NDArray[np.bool_] = flat(rows.valid, self.slots)[:, 0]
        self.arrays = (
            flat(rows.observations, self.slots + self.columns),
            flat(rows.actions, self.slots),
            flat(rows.rewards, self.slots)[:, 0],
            flat(rows.terminated, self.slots)[:, 0],
            flat(rows.truncated, self.slots)[:, 0],
            self.valid,
        )
        rated = rows.td_errors.size > 0
        self.td_errors = flat(rows.td_errors, self.slots)[:, 0] if rated else None
        """What samplers say of transitions, at the slot in which their last step lies."""
        self.low = self.high = 0

    def look(self, steps: int) -> None:
        """Take over what can be sampled now: rows that lie in the ring and whose `steps` steps are
        all written.
        """
        self.high = max(0, self._stream.rows_written - steps + 1)
        self.keep(self.ring)
        self.low = min(max(self.low, self._stream.oldest_row), self.high)

    def keep(self, rows: int) -> None:
        """Retire all but the newest `rows` rows."""
        self.low = min(self.high, max(self.low, self.high - rows))

    @property
    def rows(self) -> int:
        """How many rows can be sampled."""
        return self.high - self.low

    @property
    def transitions(self) -> int:
        """How many slots those are; a few of them hold no transition."""
        return self.rows * self.columns

    def overtaken(self) -> bool:
        """Whether rows that could be sampled at the last look have been overwritten since."""
        return self._stream.oldest_row > self.low


def flat(array: NDArray[Any], length: int) -> NDArray[Any]:
    """A view [length, numbers] of an array whose leading axes have that many entries."""
    view = array.reshape(length, -1)
    if not np.shares_memory(view, array):
        raise ValueError("a stream's arrays lie in one piece")
    return view

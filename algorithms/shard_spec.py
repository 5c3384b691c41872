"""What a `shard_channel` is made for, the place of everything in its memory, and the names by which
errors find back.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.replay import Indices
from covey.platform.runtime.layout import Field, Layout

CHUNKS = 8
"""So many are drawn ahead: two minibatches of four chunks."""
SHARD, FIGURES, LEARNER = "shard's words", "shard's figures", "learner's words"


@dataclass(frozen=True)
class ChannelSpec:
    """What a transition looks like (dtypes and widths), how many are drawn at a time, and the slots
    and sources that the shard has.
    """

    observation: tuple[str, int]
    action: tuple[str, int]
    chunk: int
    slots: int
    sources: int

    @property
    def ahead(self) -> int:
        """Transitions that are drawn ahead at most."""
        return CHUNKS * self.chunk

    @cached_property
    def layout(self) -> Layout:
        """Of everything. Errors cannot overflow: a shard takes in all that are there before it
        draws a chunk, and no more come back than were drawn.
        """
        ahead, back = (self.ahead,), (self.ahead + self.chunk,)
        seen, acted = self.observation, self.action
        return Layout(
            (
                Field(SHARD, "i8", (8,)),
                Field(FIGURES, "f8", (8,)),
                Field(LEARNER, "i8", (8,)),
                Field("observations", seen[0], (self.ahead, seen[1])),
                Field("actions", acted[0], (self.ahead, acted[1])),
                Field("rewards", "f4", ahead),
                Field("discounts", "f4", ahead),
                Field("next_observations", seen[0], (self.ahead, seen[1])),
                Field("weights", "f4", ahead),
                Field("slots", "i8", ahead),
                Field("rows", "i8", ahead),
                Field("priorities", "f8", ahead),
                Field("error_slots", "i8", back),
                Field("error_rows", "i8", back),
                Field("errors", "f4", back),
                Field("known", "i8", (self.sources, 2)),
                Field("leaves", "f8", (self.slots,)),
            )
        )


@dataclass(frozen=True)
class Names:
    """By which errors find back to N transitions: their slots, the rows of their streams that were
    there then, and the priorities that they were drawn with.
    """

    slots: Indices
    rows: Indices
    priorities: NDArray[np.float64]

    @classmethod
    def allocate(cls, size: int) -> Self:
        """Room for so many."""
        slots, rows = np.zeros((2, size), np.int64)
        return cls(slots, rows, np.zeros(size))

    def part(self, first: int, end: int) -> "Names":
        """Views of some of them."""
        return Names(self.slots[first:end], self.rows[first:end], self.priorities[first:end])

"""Several learners that share every minibatch: each has the same networks and finds the gradient
of its own rows, all add the gradients up, and all take the same step. So no weights travel, and
what is learnt is what one learner alone would learn, to rounding.

The first one (rank 0) does everything else: it draws, samples, prepares rows, counts and saves.
This is what a learner sees of it; `joined_group.py` joins processes, `other_learners.py` starts
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from covey.platform.runtime.interfaces import Arrays

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from torch import Tensor


class GroupBroken(RuntimeError):
    """Another learner of the group has died, or gives no sign any more."""


class Group(Protocol):
    """Who shares minibatches with whom. All of them call the same methods in the same order; what
    `tell` is for the first one, `hear` is for the others. GroupBroken when one is lost.
    """

    rank: int
    count: int

    def rows(self, size: int) -> slice:
        """Those of so many rows that this learner computes: equal parts, but for one row."""

    def sum(self, *tensors: Tensor) -> None:
        """Add up what all have, in place and as float32: the same bits for everyone."""

    def share(self, *tensors: Tensor) -> None:
        """Give all of them what the first one has, in place."""

    def common(self, arrays: Arrays) -> Arrays:
        """The first one's arrays, in memory that all of them see from now on."""

    def tell(self, *numbers: float) -> None:
        """An update begins; what the first one wrote into common memory is there."""

    def hear(self) -> list[float]:
        """Wait for what the first one tells, for as long as it takes, and zeros up to `TOLD`."""


class Alone:
    """See `Group`: a learner by itself."""

    rank, count = 0, 1

    def rows(self, size: int) -> slice:
        return slice(0, size)

    def sum(self, *tensors: Tensor) -> None:
        return None

    def share(self, *tensors: Tensor) -> None:
        return None

    def common(self, arrays: Arrays) -> Arrays:
        return arrays

    def tell(self, *numbers: float) -> None:
        return None

    def hear(self) -> list[float]:
        raise AssertionError("nobody tells")


class SharingLearner(Protocol):
    """What a learner has to offer to be one of a group."""

    def join(self, group: Group) -> None:
        """Share minibatches from now on, beginning with the first one's weights and optimiser."""

    def take_part(self) -> None:
        """Not for the first one: wait for its next update, and do this one's part of it."""

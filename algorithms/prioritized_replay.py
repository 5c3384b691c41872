"""Replay in proportion to priorities (Schaul et al. 2016, section 3.3): what surprised the learner
is seen more often, and counts less for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.replay import Batch, Floats, Replay
from covey.algorithms.replay_source import Source, Stream
from covey.algorithms.sum_tree import SumTree
from covey.platform.runtime.interfaces import Arrays, Record

SMALLEST = 1e-6
"""Added to every error, so that nothing is forgotten altogether."""


class PrioritizedReplay(Replay):
    """A transition's priority is (|error| + SMALLEST)**alpha. A new one begins with the error that
    its sampler wrote beside it; where there is none, with the highest priority so far.

    alpha=0 is uniform sampling. The importance weights' exponent grows from `beta` to 1 over the
    training.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        archives: Sequence[Stream],
        capacity: int,
        generator: Generator,
        *,
        gamma: float,
        steps: int = 1,
        alpha: float = 0.6,
        beta: float = 0.4,
    ) -> None:
        super().__init__(streams, archives, capacity, generator, gamma=gamma, steps=steps)
        self._alpha, self._first_beta, self._beta = alpha, beta, beta
        self._highest = 1.0
        self._tree = SumTree(sum(source.slots for source in self._sources))
        self._known: dict[int, tuple[int, int]] = {}
        """By a source's offset, its rows [low, high) that have priorities."""

    def _look(self) -> None:
        super()._look()
        for source in self._sources:
            low, high = self._known.get(source.offset, (0, 0))
            if (source.low, source.high) != (low, high):
                # First out, then in: a new row may lie where an old one did.
                self._forget(source, low, min(source.low, high))
                self._begin(source, max(high, source.low), source.high)
                self._known[source.offset] = (source.low, source.high)

    def _forget(self, source: Source, first: int, last: int) -> None:
        """Rows [first, last) are drawn no more."""
        for begin, slots in pieces(source, first, last):
            self._tree.set_range(source.offset + begin, np.zeros(slots))

    def _begin(self, source: Source, first: int, last: int) -> None:
        """Rows [first, last) get their first priorities; slots without a transition have 0."""
        runs, done = pieces(source, first, last), 0
        valid = joined(source.valid, runs)
        priorities = np.where(valid, self._first_priorities(source, first, last, valid), 0.0)
        for begin, slots in runs:
            self._tree.set_range(source.offset + begin, priorities[done : done + slots])
            done += slots

    def _first_priorities(
        self, source: Source, first: int, last: int, valid: NDArray[np.bool_]
    ) -> float | NDArray[np.float64]:
        """Of rows [first, last), where there are transitions, flat."""
        if source.td_errors is None:
            return self._highest
        # The error of a transition stands where its n steps end.
        ends = pieces(source, first + self._steps - 1, last + self._steps - 1)
        errors = joined(source.td_errors, ends)
        known = np.isfinite(errors) & valid
        priorities = self._priorities(np.where(known, errors, 0.0))
        self._highest = max(self._highest, float(priorities.max(initial=0.0)))
        return np.where(known, priorities, self._highest)

    def _priorities(self, errors: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (errors.astype(np.float64) + SMALLEST) ** self._alpha
        return found

    def _choose(self, batch: Batch) -> None:
        size = len(batch.slots)
        if self._tree.total <= 0:
            raise ValueError("the replay holds no transition yet")
        # One draw from each of N equal shares of the total: the same frequencies, less chance.
        uniform = (np.arange(size) + self._generator.random(size)) / size
        batch.slots[:] = self._tree.draw(uniform)
        # Of (N * P)**-beta / max, N and the total cancel.
        priorities = self._tree.priorities[batch.slots]
        batch.weights[:] = (priorities / priorities.min()) ** -self._beta

    def reprioritize(self, batch: Batch, errors: Floats) -> None:
        """The sizes [N] of the batch's temporal-difference errors; before the next `sample`."""
        priorities = self._priorities(errors)
        self._highest = max(self._highest, float(priorities.max()))
        self._tree.set(batch.slots, priorities)

    def set_progress(self, fraction: float) -> None:
        self._beta = self._first_beta + (1.0 - self._first_beta) * min(fraction, 1.0)

    def state(self) -> tuple[Record, Arrays]:
        record, arrays = super().state()
        known = [self._known.get(source.offset, (0, 0)) for source in self._sources]
        record |= {"highest": self._highest, "beta": self._beta, "known": known}
        for index, (source, rows) in enumerate(zip(self._sources, known, strict=True)):
            leaves = [
                self._tree.priorities[source.offset + begin : source.offset + begin + slots]
                for begin, slots in pieces(source, *rows)
            ]
            arrays[f"priorities.{index}"] = np.concatenate([np.empty(0), *leaves])
        return record, arrays

    def restore(self, record: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().restore(record, arrays)
        self._highest, self._beta = record["highest"], record["beta"]
        sources = self._restored(record)
        for index, (source, (low, high)) in enumerate(zip(sources, record["known"], strict=False)):
            leaves, start = arrays[f"priorities.{index}"], 0
            for begin, slots in pieces(source, low, high):
                self._tree.set_range(source.offset + begin, leaves[start : start + slots])
                start += slots
            self._known[source.offset] = (low, high)


def pieces(source: Source, first: int, last: int) -> list[tuple[int, int]]:
    """Rows [first, last) as runs of slots (begin, how many) of the ring: two where it wraps."""
    runs = []
    while first < last:
        row = first % source.ring
        rows = min(last - first, source.ring - row)
        runs.append((row * source.columns, rows * source.columns))
        first += rows
    return runs


def joined(array: NDArray[Any], runs: list[tuple[int, int]]) -> NDArray[Any]:
    """Those runs of slots, one after another."""
    return np.concatenate([array[:0], *(array[begin : begin + slots] for begin, slots in runs)])

"""Distributed prioritised replay (Horgan et al. 2018): the learner's side of several shards, each a
process of its own (`replay_shard.py`) that attaches to its share of the samplers' streams.

Of a minibatch each shard gives a part in proportion to the sum of its priorities, so that
transition i is met with probability p_i / (sum of all p), whichever shard has it; and importance
weights are of that probability.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.prioritized_replay import pieces
from covey.algorithms.replay import Batch, Floats, Replay
from covey.algorithms.shard_channel import ShardChannel
from covey.algorithms.shard_seats import WAIT_S, Seat, Settings, Shards, ShardSeats
from covey.algorithms.shard_spec import Names
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.stream import Stream


class ShardedReplay(Replay):
    """See `PrioritizedReplay`, with the same state: another one, of whatever kind, goes on from
    it. Not for lock-step: what is drawn ahead depends on the clock.

    A shard that dies is replaced, and the next one begins with the first priorities of all rows in
    the streams; meanwhile the others give the whole minibatch.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        archives: Sequence[Stream],
        capacity: int,
        generator: Generator,
        shards: Shards,
        *,
        batch_size: int,
        gamma: float,
        steps: int = 1,
        alpha: float = 0.6,
        beta: float = 0.4,
    ) -> None:
        super().__init__(streams, archives, capacity, generator, gamma=gamma, steps=steps)
        self._first_beta = self._beta = beta
        self._highest = 1.0
        self._names = Names.allocate(batch_size)
        settings = Settings(capacity, batch_size, gamma, steps, alpha)
        every = (*streams, *archives)
        self._seats = ShardSeats(shards, settings, every, self._sources, len(streams))

    def __len__(self) -> int:
        self._seats.heal()
        return sum(channel.transitions for _, channel in self._seats.there if channel.total > 0)

    def sample(self, batch: Batch) -> None:
        """Waits for shards that have not drawn enough yet. ValueError when all are empty."""
        size = len(batch.slots)
        while not self._give(batch, size):
            time.sleep(WAIT_S)
        priorities = self._names.priorities[:size]
        batch.slots[:] = self._names.slots[:size]
        # Of (N * P)**-beta / max, N and the total over all shards cancel.
        batch.weights[:] = (priorities / priorities.min()) ** -self._beta

    def _give(self, batch: Batch, size: int) -> bool:
        """False if somebody who was to give a part has died, or nobody is there yet."""
        self._seats.heal()
        there = self._seats.there
        totals = np.cumsum([channel.total for _, channel in there])
        if not there or totals[-1] <= 0:
            if len(there) == len(self._seats.all) and not any(c.transitions for _, c in there):
                raise ValueError("the replay holds no transition yet")
            return False
        # One draw from each of N equal shares of the total, as in a single tree.
        uniform = (np.arange(size) + self._generator.random(size)) / size * totals[-1]
        ends = [*np.searchsorted(uniform, totals[:-1]).tolist(), size]
        for (seat, channel), first, end in zip(there, [0, *ends], ends, strict=False):
            if not self._seats.wait(seat, partial(channel.has, end - first)):
                return False
        for seat in self._seats.all:
            seat.given = (0, 0)
        for (seat, channel), first, end in zip(there, [0, *ends], ends, strict=False):
            channel.give(end - first, batch, self._names, first)
            seat.given = (first, end)
        return True

    def reprioritize(self, batch: Batch, errors: Floats) -> None:
        """The sizes [N] of the batch's temporal-difference errors; before the next `sample`."""
        for seat in self._seats.all:
            first, end = seat.given
            if seat.channel is not None and end > first:
                seat.channel.send_errors(self._names.part(first, end), errors[first:end])
            seat.given = (0, 0)

    def set_progress(self, fraction: float) -> None:
        self._beta = self._first_beta + (1.0 - self._first_beta) * min(fraction, 1.0)

    def close(self) -> None:
        """Let go of the shards, who end with their crew."""
        self._seats.close()

    def state(self) -> tuple[Record, Arrays]:
        """Of a shard that is not there no priorities are kept: they are those of the streams."""
        record, _ = super().state()
        known = [(0, 0)] * len(self._sources)
        arrays: Arrays = {f"priorities.{k}": np.empty(0) for k in range(len(self._sources))}
        asked = self._seats.there
        for _, channel in asked:
            channel.ask()
        for seat, channel in asked:
            if self._seats.wait(seat, channel.has_answered):
                self._highest = max(self._highest, channel.highest)
                self._take_state(seat, channel, known, arrays)
        for seat in self._seats.all:
            if seat.saved is not None and not any(seat is one for one, _ in asked):
                for own, number in enumerate(seat.sources):
                    known[number] = tuple(seat.saved[0]["known"][own])
                    arrays[f"priorities.{number}"] = seat.saved[1][f"priorities.{own}"]
        told = {"highest": self._highest, "beta": self._beta, "known": known}
        return record | told, arrays

    def _take_state(
        self,
        seat: Seat,
        channel: ShardChannel,
        known: list[tuple[int, int]],
        arrays: Arrays,
    ) -> None:
        offset = 0
        for own, number in enumerate(seat.sources):
            source = self._sources[number]
            low, high = channel.known[own].tolist()
            parts = [channel.leaves[offset + b :][:n] for b, n in pieces(source, low, high)]
            arrays[f"priorities.{number}"] = np.concatenate([np.empty(0), *parts])
            known[number] = (low, high)
            offset += source.slots

    def restore(self, record: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().restore(record, arrays)
        if "known" not in record:  # of a replay without priorities
            return
        self._highest, self._beta = record["highest"], record["beta"]
        places = {id(one): k for k, one in enumerate(self._restored(record))}
        for seat in self._seats.all:
            found = [places.get(id(self._sources[number])) for number in seat.sources]
            own = {
                f"priorities.{index}": np.empty(0) if k is None else arrays[f"priorities.{k}"]
                for index, k in enumerate(found)
            }
            told = {
                "sources": [seat.live, len(seat.sources)],
                "columns": [self._sources[number].columns for number in seat.sources],
                "known": [(0, 0) if k is None else record["known"][k] for k in found],
            }
            seat.saved = record | told, own

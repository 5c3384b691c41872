"""Distributed prioritised replay (Horgan et al. 2018): the learner's side of several shards, each a
process of its own (`replay_shard.py`) that attaches to its share of the samplers' streams.

Of a minibatch each shard gives a part in proportion to the sum of its priorities, so that
transition i is met with probability p_i / (sum of all p), whichever shard has it; and importance
weights are of that probability.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.prioritized_replay import pieces
from covey.algorithms.replay import Batch, Floats, Replay, Source
from covey.algorithms.replay_shard import ReplayShard, ShardPlan
from covey.algorithms.shard_channel import ChannelSpec, Names, ShardChannel
from covey.platform.runtime.crew import Crew, Pending, WorkerLost
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.stream import Stream
from covey.platform.seeds import derive

STARTS = 3
"""So many deaths of one shard in a row before it has begun are put up with."""
LOOK_S = 0.25
"""So often the learner looks for shards that died."""
WAIT_S = 5e-5
CHUNKS_A_BATCH = 4


@dataclass(frozen=True)
class Shards:
    """How many there are, whose workers they are, and who hears of those that are replaced."""

    count: int
    crew: Crew
    note: Callable[[str, str], None]
    root_seed: int


@dataclass
class Seat:
    """A shard's place: its sources by their numbers among all, of which the first `live` are
    samplers' streams; whoever is there, and the channel to them.
    """

    sources: tuple[int, ...]
    live: int
    columns: int
    channel: ShardChannel | None = None
    running: Pending | None = None
    lives: int = 0
    fruitless: int = 0
    saved: tuple[Record, Arrays] | None = None
    """Where the first one goes on; the others have what samplers wrote."""
    given: tuple[int, int] = field(default=(0, 0))
    """Its part of the last minibatch."""


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
        self._streams, self._shards = (*streams, *archives), shards
        self._alpha, self._first_beta, self._beta = alpha, beta, beta
        self._chunk = -(-batch_size // CHUNKS_A_BATCH)
        self._highest = 1.0
        self._names = Names.allocate(batch_size)
        self._looked_s = -LOOK_S
        count = min(shards.count, len(streams))
        self._seats = [self._seat(index, count) for index in range(count)]

    def _seat(self, index: int, count: int) -> Seat:
        own = tuple(range(index, len(self._sources), count))
        live = [number for number in own if number < self._live]
        return Seat(own, len(live), sum(self._sources[number].columns for number in live))

    # The shards

    def _heal(self, at_once: bool = False) -> None:
        """Start those that are not there, and others in the place of those that died."""
        if not at_once and time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        for index, seat in enumerate(self._seats):
            if seat.running is None:
                self._start(index, seat)
            elif self._shards.crew.is_ready(seat.running):
                self._replace(index, seat, seat.running)

    def _replace(self, index: int, seat: Seat, ended: Pending) -> None:
        assert seat.channel is not None
        try:
            self._shards.crew.fetch([ended])
            raise AssertionError("a shard ended unasked")
        except WorkerLost as error:
            why = str(error).splitlines()[0]
            seat.fruitless = 0 if seat.channel.has_started else seat.fruitless + 1
            if seat.fruitless >= STARTS:
                raise
        self._shards.note("replaced", f"{why}; another one refills from the samplers' streams")
        seat.channel.close()
        seat.lives, seat.saved = seat.lives + 1, None
        self._start(index, seat)

    def _start(self, index: int, seat: Seat) -> None:
        shards, streams = self._shards, [self._streams[number] for number in seat.sources]
        columns = sum(source.columns for source in self._sources[: self._live])
        seat.channel = ShardChannel.create(self._channel_spec(seat))
        plan = ShardPlan(
            tuple(stream.handle.attach for stream in streams[: seat.live]),
            tuple(stream.handle.attach for stream in streams[seat.live :]),
            seat.channel.handle,
            self._capacity * seat.columns // columns,
            self._gamma,
            self._steps,
            self._alpha,
            derive(shards.root_seed, "replay", index, seat.lives),
            seat.saved,
        )
        worker = shards.crew.spawn(f"replay shard {index}", ReplayShard, plan)
        seat.running = worker.submit("run")

    def _channel_spec(self, seat: Seat) -> ChannelSpec:
        sources = [self._sources[number] for number in seat.sources]
        seen, acted = sources[0].arrays[:2]
        return ChannelSpec(
            (seen.dtype.str, seen.shape[1]),
            (acted.dtype.str, acted.shape[1]),
            self._chunk,
            sum(source.slots for source in sources),
            len(sources),
        )

    @property
    def _there(self) -> list[tuple[Seat, ShardChannel]]:
        """Those who have begun, with their channels."""
        held = [(seat, seat.channel) for seat in self._seats if seat.channel is not None]
        return [(seat, channel) for seat, channel in held if channel.has_started]

    # The replay

    def __len__(self) -> int:
        self._heal()
        return sum(channel.transitions for _, channel in self._there if channel.total > 0)

    def sample(self, batch: Batch) -> None:
        """Waits for shards that have not drawn enough yet. ValueError when all are empty."""
        while not self._give(batch):
            self._heal(at_once=True)
        priorities = self._names.priorities[: len(batch.slots)]
        batch.slots[:] = self._names.slots[: len(batch.slots)]
        # Of (N * P)**-beta / max, N and the total over all shards cancel.
        batch.weights[:] = (priorities / priorities.min()) ** -self._beta

    def _give(self, batch: Batch) -> bool:
        """False if somebody who was to give a part has died, or nobody is there yet."""
        self._heal()
        there, size = self._there, len(batch.slots)
        totals = np.cumsum([channel.total for _, channel in there])
        if not there or totals[-1] <= 0:
            if len(there) == len(self._seats) and not any(one.transitions for _, one in there):
                raise ValueError("the replay holds no transition yet")
            time.sleep(WAIT_S)
            return False
        # One draw from each of N equal shares of the total, as in a single tree.
        uniform = (np.arange(size) + self._generator.random(size)) / size * totals[-1]
        ends = [0, *np.searchsorted(uniform, totals).tolist()]
        ends[-1] = size
        for seat in self._seats:
            seat.given = (0, 0)
        for (seat, channel), first, end in zip(there, ends, ends[1:], strict=False):
            if not self._wait(seat, channel, end - first):
                return False
            seat.given = (first, end)
        for seat, channel in there:
            first, end = seat.given
            channel.give(end - first, batch, self._names, first)
        return True

    def _wait(self, seat: Seat, channel: ShardChannel, count: int) -> bool:
        """Whether the shard has drawn so many, by and by."""
        looked_s = time.monotonic()
        while channel.ready < count:
            if time.monotonic() - looked_s > LOOK_S:
                looked_s = time.monotonic()
                if seat.running is None or self._shards.crew.is_ready(seat.running):
                    return False
            time.sleep(WAIT_S)
        return True

    def reprioritize(self, batch: Batch, errors: Floats) -> None:
        """The sizes [N] of the batch's temporal-difference errors; before the next `sample`."""
        for seat in self._seats:
            first, end = seat.given
            if seat.channel is not None and end > first:
                seat.channel.send_errors(self._names.part(first, end), errors[first:end])
            seat.given = (0, 0)

    def set_progress(self, fraction: float) -> None:
        self._beta = self._first_beta + (1.0 - self._first_beta) * min(fraction, 1.0)

    def close(self) -> None:
        """Let go of all channels; the shards end with their crew."""
        for seat in self._seats:
            if seat.channel is not None:
                seat.channel.close()

    # Its state

    def state(self) -> tuple[Record, Arrays]:
        """Of a shard that is not there no priorities are kept: they are those of the streams."""
        record, _ = super().state()
        known = [(0, 0)] * len(self._sources)
        arrays: Arrays = {f"priorities.{k}": np.empty(0) for k in range(len(self._sources))}
        asked = self._there
        for _, channel in asked:
            channel.ask()
        for seat, channel in asked:
            if self._answers(seat, channel):
                self._take_state(seat, channel, known, arrays)
        for seat in self._seats:
            if seat.saved is not None and not any(seat is one for one, _ in asked):
                for own, number in enumerate(seat.sources):
                    known[number] = tuple(seat.saved[0]["known"][own])
                    arrays[f"priorities.{number}"] = seat.saved[1][f"priorities.{own}"]
        told = {"highest": self._highest, "beta": self._beta, "known": known}
        return record | told, arrays

    def _answers(self, seat: Seat, channel: ShardChannel) -> bool:
        assert seat.running is not None
        looked_s = time.monotonic()
        while (highest := channel.highest) is None:
            if time.monotonic() - looked_s > LOOK_S:
                looked_s = time.monotonic()
                if self._shards.crew.is_ready(seat.running):
                    return False
            time.sleep(WAIT_S)
        self._highest = max(self._highest, highest)
        return True

    def _take_state(
        self,
        seat: Seat,
        channel: ShardChannel,
        known: list[tuple[int, int]],
        arrays: Arrays,
    ) -> None:
        offset = 0
        for own, number in enumerate(seat.sources):
            source: Source = self._sources[number]
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
        places = {id(one): k for k, one in enumerate(self._restored(*record["sources"]))}
        for seat in self._seats:
            found = [places.get(id(self._sources[number])) for number in seat.sources]
            own = {
                f"priorities.{index}": np.empty(0) if k is None else arrays[f"priorities.{k}"]
                for index, k in enumerate(found)
            }
            told = {
                "sources": [seat.live, len(seat.sources)],
                "known": [(0, 0) if k is None else record["known"][k] for k in found],
            }
            seat.saved = record | told, own

"""One process of a distributed prioritised replay (Horgan et al. 2018): it keeps the priorities of
its share of the samplers' streams, and draws ahead for the learner. `sharded_replay.py` is the
learner's side.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from covey.algorithms.prioritized_replay import PrioritizedReplay
from covey.algorithms.replay import Batch, Floats, Indices
from covey.algorithms.shard_channel import ChannelHandle, ShardChannel
from covey.algorithms.shard_spec import Names
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.threads import one_blas_thread

IDLE_S = 5e-4
"""Between two looks for new rows and errors while as much is drawn ahead as there is room for."""


@dataclass(frozen=True)
class ShardPlan:
    """What a shard works on. `saved` is where another one stood: without it, priorities are those
    that samplers wrote beside their rows.
    """

    streams: tuple[Callable[[], Stream], ...]
    archives: tuple[Callable[[], Stream], ...]
    channel: ChannelHandle
    capacity: int
    gamma: float
    steps: int
    alpha: float
    seed: SeedSequence
    saved: tuple[Record, Arrays] | None


class ReplayShard:
    """Lives in a process of its own, and ends with the learner, who started it."""

    def __init__(self, plan: ShardPlan) -> None:
        one_blas_thread()
        keep_freed_memory()
        generator = Generator(PCG64(plan.seed))
        self._channel: ShardChannel = plan.channel.attach()
        self._replay = DrawingReplay(
            [one() for one in plan.streams],
            [one() for one in plan.archives],
            plan.capacity,
            generator,
            gamma=plan.gamma,
            steps=plan.steps,
            alpha=plan.alpha,
        )
        if plan.saved is not None:
            record, arrays = plan.saved
            own = {"generator": generator.bit_generator.state}
            self._replay.restore(record | own, arrays)

    def run(self) -> None:
        """Draw and correct without end."""
        self._turn()
        self._channel.start()
        while True:
            if not self._turn():
                time.sleep(IDLE_S)

    def _turn(self) -> bool:
        """Whether there was anything to do but to look."""
        channel, replay = self._channel, self._replay
        busy = channel.take_errors(replay.correct)
        transitions = len(replay)
        if channel.has_room and replay.total > 0:
            channel.put(replay.draw)
            busy = True
        channel.tell(replay.total, transitions)
        if channel.is_asked:
            channel.take_errors(replay.correct)  # of before it was asked
            channel.answer(replay.tell(channel.known, channel.leaves))
        return busy


class DrawingReplay(PrioritizedReplay):
    """One whose draws are far from their corrections: errors come with the rows they are of."""

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return self._tree.total

    def draw(self, batch: Batch, names: Names) -> None:
        """Fill a batch and tell the names of what is in it, whose slots are the batch's own. Any
        part of it is as good a sample as the whole.
        """
        self.sample(batch)
        names.priorities[:] = self._tree.priorities[batch.slots]
        for source, own in self._by_source(batch.slots):
            low, _ = self._known[source.offset]
            ring_row = (batch.slots[own] - source.offset) // source.columns
            names.rows[own] = low + (ring_row - low) % source.ring

    def _choose(self, batch: Batch) -> None:
        super()._choose(batch)
        self._generator.shuffle(batch.slots)  # they come in the order of the shares drawn from

    def correct(self, slots: Indices, rows: Indices, errors: Floats) -> None:
        """Errors of transitions that were drawn; of rows that have been overwritten, nothing."""
        priorities = self._priorities(errors)
        self._highest = max(self._highest, float(priorities.max(initial=0.0)))
        for source, own in self._by_source(slots):
            low, high = self._known[source.offset]
            held = own[(rows[own] >= low) & (rows[own] < high)]
            self._tree.set(slots[held], priorities[held])

    def _by_source(self, slots: Indices) -> Any:
        """Each source with the places in `slots` of those that are its own."""
        for source in self._sources:
            own = np.flatnonzero((slots >= source.offset) & (slots < source.offset + source.slots))
            if len(own):
                yield source, own

    def tell(self, known: NDArray[np.int64], leaves: NDArray[np.float64]) -> float:
        """Write which rows have priorities, and those of all slots; the highest so far."""
        known[:] = [self._known.get(source.offset, (0, 0)) for source in self._sources]
        leaves[:] = self._tree.priorities
        return self._highest

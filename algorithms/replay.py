"""Replay: minibatches straight from the samplers' rings.

Nothing is copied when a transition is written; a minibatch is gathered from where the samplers
wrote it. Sampling is uniform, or in proportion to priorities (Schaul et al. 2016).

Its sources (`replay_source.py`) are live streams, which samplers write, and archives: read-only
streams from a checkpoint of other samplers, whose oldest rows retire as new ones come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.replay_kernels import choose, gather, touch
from covey.algorithms.replay_source import Source, Stream
from covey.platform.runtime.interfaces import Arrays, Record

Indices = NDArray[np.int64]
Floats = NDArray[np.float32]
TRIES = 1000


@dataclass(frozen=True)
class Batch:
    """N transitions, written by `Replay.sample` into memory of the caller's.

    `observations` [N, S] and `actions` [N, A] are flat; `next_observations` [N, S] follow the last
    of up to n steps, `rewards` [N] are those steps' discounted sum, and `discounts` [N] what the
    value of the next observation counts: gamma**steps, or 0 after termination. `weights` [N] are
    importance weights of at most 1, `slots` [N] names for `Replay.reprioritize`.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: Floats
    discounts: Floats
    next_observations: NDArray[Any]
    weights: Floats
    slots: Indices

    @classmethod
    def around(
        cls,
        observations: NDArray[Any],
        actions: NDArray[Any],
        next_observations: NDArray[Any],
        numbers: Floats | None = None,
    ) -> Self:
        """A batch that is gathered into these arrays; `numbers` [3, N], ones, are for rewards,
        discounts and weights.
        """
        size = len(actions)
        rewards, discounts, weights = np.ones((3, size), np.float32) if numbers is None else numbers
        slots = np.zeros(size, np.int64)
        return cls(observations, actions, rewards, discounts, next_observations, weights, slots)


class Replay:
    """`sample` fills a batch; `reprioritize` follows each gradient step.

    At most `capacity` slots can be sampled; live rows come first, and archives have what is left.
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
    ) -> None:
        self._live = len(streams)
        self._capacity, self._generator = capacity, generator
        self._gamma, self._steps = gamma, steps
        self._sources: list[Source] = []
        for stream in (*streams, *archives):
            offset = sum(source.slots for source in self._sources)
            self._sources.append(Source(stream, offset))

    def __len__(self) -> int:
        """How many slots can be sampled now."""
        self._look()
        return self._transitions

    @property
    def _transitions(self) -> int:
        return sum(source.transitions for source in self._sources)

    def sample(self, batch: Batch) -> None:
        """Fill a batch. ValueError when there is nothing to sample."""
        for _ in range(TRIES):
            self._look()
            self._choose(batch)
            for source in self._sources:
                touch(batch.slots, source.offset, source.columns, *source.arrays)
                gather(
                    batch.slots,
                    source.offset,
                    source.columns,
                    self._steps,
                    self._gamma,
                    *source.arrays,
                    batch.observations,
                    batch.actions,
                    batch.rewards,
                    batch.discounts,
                    batch.next_observations,
                )
            # A sampler may have begun a new block meanwhile, over rows that were just read.
            if not any(source.overtaken() for source in self._sources[: self._live]):
                return
        raise ValueError("samplers overwrite their rings faster than a batch can be read")

    def _look(self) -> None:
        live, archives = self._sources[: self._live], self._sources[self._live :]
        for source in self._sources:
            source.look(self._steps)
        columns = sum(source.columns for source in live)
        for source in live:
            source.keep(self._capacity // columns)
        left = max(0, self._capacity - sum(source.transitions for source in live))
        held = sum(source.transitions for source in archives)
        for source in archives:
            if held > left:  # each keeps the same fraction of its rows, the newest ones
                source.keep(source.rows * left // held)

    def _choose(self, batch: Batch) -> None:
        """Uniformly among the valid transitions: drawn again where there is none."""
        total, filled = self._transitions, 0
        for _ in range(TRIES if total else 0):
            picks = self._generator.random(len(batch.slots) - filled) * total
            first = 0
            for source in self._sources:
                filled = choose(
                    picks,
                    first,
                    source.transitions,
                    source.low % source.ring * source.columns,
                    source.valid,
                    source.offset,
                    batch.slots,
                    filled,
                )
                first += source.transitions
            if filled == len(batch.slots):
                return
        raise ValueError("the replay holds no transition yet")

    def reprioritize(self, batch: Batch, errors: Floats) -> None:
        """The sizes [N] of the batch's temporal-difference errors; uniform sampling has no use for
        them.
        """

    def set_progress(self, fraction: float) -> None:
        """How much of the training is over, in [0, 1]."""

    def state(self) -> tuple[Record, Arrays]:
        """What `restore` needs besides the streams themselves."""
        return {
            "generator": self._generator.bit_generator.state,
            "sources": [self._live, len(self._sources)],
            "columns": [source.columns for source in self._sources],
        }, {}

    def restore(self, record: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state` over streams that hold the same rows: the same streams and archives,
        or streams of other samplers and, as archives, the archives and then the streams of then,
        and any others. Rows that lie elsewhere are taken for new ones.
        """
        self._generator.bit_generator.state = record["generator"]

    def close(self) -> None:
        """Let go of what it has besides the streams."""

    def _restored(self, record: Record) -> list[Source]:
        """The sources as they were at that `state`; none if rows have been laid elsewhere since."""
        live, held = record["sources"]
        archives = self._sources[self._live :]
        same = self._sources if live == self._live else []
        for found in (same, archives[held - live : held] + archives[: held - live]):
            columns = [source.columns for source in found]
            if len(found) == held and columns == record.get("columns", columns):
                return found
        return []

"""Replay of whole environments: what all agents saw and did at the same moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.replay import TRIES, Replay, Source, Stream

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class JointBatch:
    """N moments of an environment with A agents.

    `observations` and `next_observations` [N, A, S] and `actions` [N, A, …] are raw; `rewards`
    [N, A]; `terminated` [N, A].
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: Floats
    terminated: NDArray[np.bool_]
    next_observations: NDArray[Any]

    @classmethod
    def like(cls, source: Source, size: int, agents: int) -> Self:
        """Room for `size` moments out of a source."""
        seen, acted = (part.shape[1:] for part in source.arrays[:2])
        kinds = [part.dtype for part in source.arrays]
        return cls(
            np.empty((size, agents, *seen), kinds[0]),
            np.empty((size, agents, *acted), kinds[1]),
            np.empty((size, agents), np.float32),
            np.empty((size, agents), np.bool_),
            np.empty((size, agents, *seen), kinds[0]),
        )


class JointReplay(Replay):
    """See `Replay`; columns are ordered environment by environment, agent by agent.

    A moment is sampled if every agent was there.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        archives: Sequence[Stream],
        capacity: int,
        generator: Generator,
        agents: int,
    ) -> None:
        super().__init__(streams, archives, capacity, generator, gamma=1.0)
        self._agents = agents

    def sample_joint(self, size: int) -> JointBatch:
        """`size` moments, drawn uniformly. ValueError when there is nothing to sample."""
        for _ in range(TRIES):
            self._look()
            batch = self._gather(self._draw(size))
            # A sampler may have begun a new block meanwhile, over rows that were just read.
            if not any(source.overtaken() for source in self._sources[: self._live]):
                return batch
        raise ValueError("samplers overwrite their rings faster than a batch can be read")

    def _draw(self, size: int) -> list[NDArray[np.int64]]:
        """For each source the moments to be taken: row of the ring times environments, plus the
        environment.
        """
        total = self._transitions
        found: list[list[NDArray[np.int64]]] = [[] for _ in self._sources]
        missing = size
        for _ in range(TRIES if total else 0):
            picks = (self._generator.random(missing) * total).astype(np.int64)
            first = 0
            for source, moments in zip(self._sources, found, strict=True):
                own = picks[(picks >= first) & (picks < first + source.transitions)] - first
                first += source.transitions
                moment = (source.low * source.columns + own) % source.slots // self._agents
                there = source.valid.reshape(-1, self._agents)[moment].all(axis=1)
                moments.append(moment[there])
                missing -= int(there.sum())
            if not missing:
                return [np.concatenate(moments) for moments in found]
        raise ValueError("the replay holds no transition yet")

    def _gather(self, moments: Sequence[NDArray[np.int64]]) -> JointBatch:
        size, agents = sum(map(len, moments)), self._agents
        batch = JointBatch.like(self._sources[0], size, agents)
        begin = 0
        for source, chosen in zip(self._sources, moments, strict=True):
            part = slice(begin, begin + len(chosen))
            begin += len(chosen)
            seen, acted, rewards, terminated = (
                array.reshape(-1, agents, *array.shape[1:]) for array in source.arrays[:4]
            )
            batch.observations[part] = seen[chosen]
            batch.actions[part] = acted[chosen]
            batch.rewards[part] = rewards[chosen]
            batch.terminated[part] = terminated[chosen]
            batch.next_observations[part] = seen[chosen + source.columns // agents]
        return batch

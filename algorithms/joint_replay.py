"""Replay of whole environments: what all agents saw and did at the same moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.replay import TRIES, Replay
from covey.algorithms.replay_source import Stream
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.spaces import Spaces

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
    def allocate(cls, size: int, agents: int, spaces: Spaces) -> Self:
        """Room for `size` moments."""
        rows = Rows.allocate(size, agents, spaces)
        following = np.zeros_like(rows.observations[1:])
        actions = np.zeros_like(rows.actions)
        return cls(rows.observations[1:], actions, rows.rewards, rows.terminated, following)


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
        spaces: Spaces,
    ) -> None:
        super().__init__(streams, archives, capacity, generator, gamma=1.0)
        self._spaces, self._agents = spaces, spaces.agents

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
        batch = JointBatch.allocate(size, agents, self._spaces)
        begin = 0
        for source, chosen in zip(self._sources, moments, strict=True):
            part = slice(begin, begin + len(chosen))
            begin += len(chosen)
            seen, acted, rewards, terminated = (
                array.reshape(-1, agents, *array.shape[1:]) for array in source.arrays[:4]
            )
            batch.observations[part] = like(seen[chosen], batch.observations)
            batch.actions[part] = like(acted[chosen], batch.actions)
            batch.rewards[part] = rewards[chosen]
            batch.terminated[part] = terminated[chosen]
            following = seen[chosen + source.columns // agents]
            batch.next_observations[part] = like(following, batch.next_observations)
        return batch


def like(flat: NDArray[Any], shaped: NDArray[Any]) -> NDArray[Any]:
    """Flat entries [N, A, numbers] in the shape that those of another array have."""
    return flat.reshape(-1, *shaped.shape[1:])

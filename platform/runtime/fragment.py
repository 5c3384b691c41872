"""What a sampler hands to a learner: a rollout fragment in preallocated arrays, and the weights it
acts on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.spaces import Spaces


@dataclass(frozen=True)
class Weights:
    """A policy's published arrays; `version` grows by one with each publication."""

    version: int
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Episodes:
    """The episodes that ended in a fragment, in the order in which they ended. Returns are the raw
    sums.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Fragment:
    """T steps of B environments. Row t holds what was seen, done and got in step t.

    `observations` [T+1, B, ...] are raw; the last row is what acts next. Where an episode ended,
    row t+1 already shows the next one's first observation, and the final observation of the ended
    one stands in `final_observations` [K, ...] at the flat step `final_steps` [K] = t * B + b.
    `terminated` and `truncated` [T, B] are kept apart. `logp` [T, B] is the acting policy's, of
    weights `version`. A sampler that is called inline hands out its own arrays: they are
    overwritten by its next fragment.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    logp: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_steps: NDArray[np.int64]
    final_observations: NDArray[Any]
    episodes: Episodes
    version: int
    sample_s: float

    @classmethod
    def allocate(cls, steps: int, environments: int, spaces: Spaces) -> Self:
        """An empty fragment of that size."""
        seen, size = spaces.observation, (steps, environments)
        return cls(
            observations=np.zeros((steps + 1, environments, *seen.shape), dtype=seen.dtype),
            actions=spaces.action.empty(*size),
            logp=np.empty(size, dtype=np.float32),
            rewards=np.empty(size, dtype=np.float32),
            terminated=np.empty(size, dtype=np.bool_),
            truncated=np.empty(size, dtype=np.bool_),
            final_steps=np.empty(0, dtype=np.int64),
            final_observations=np.empty((0, *seen.shape), dtype=seen.dtype),
            episodes=Episodes(np.empty(0), np.empty(0, dtype=np.int64)),
            version=-1,
            sample_s=0.0,
        )

    @property
    def env_steps(self) -> int:
        """T x B."""
        return self.rewards.size

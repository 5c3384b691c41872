"""What a sampler hands to a learner: rollout fragments in preallocated arrays, and the weights it
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
    """A policy's published arrays; `version` grows by one with each publication, from 0."""

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
class Rows:
    """T steps of B columns (a column is an environment, or one agent of one).

    Row t holds what was seen, done and got in step t; `observations` [T+1, B, ...] are raw, and row
    t+1 always shows where step t led to, the final observation of an ended episode included.
    After an episode's end comes one row that is no transition (`valid` False): the action is not
    taken, and the row after it shows the next episode's first observation. A column whose agent
    has left, or whose environment failed, is not valid either. `terminated` and `truncated` [T, B]
    are kept apart. `logp` [T, B] is the acting policy's. `td_errors` [T, B] are the sizes of the
    acting policy's temporal-difference errors, of the transition whose n steps end with row t (it
    began n-1 rows before), or NaN where it does not know; [T, 0] where nobody wants them.

    So a recursion over time is cut after step t where `terminated | truncated` at t, or where row
    t+1 is not valid; and the value of `observations[t+1]` is what step t bootstraps from.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    logp: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    td_errors: NDArray[np.float32]

    @classmethod
    def allocate(cls, steps: int, columns: int, spaces: Spaces, td_errors: bool = False) -> Self:
        """Rows in memory of this process alone."""
        seen, size = spaces.observation, (steps, columns)
        return cls(
            observations=np.zeros((steps + 1, columns, *seen.shape), dtype=seen.dtype),
            actions=spaces.action.empty(*size),
            logp=np.zeros(size, dtype=np.float32),
            rewards=np.zeros(size, dtype=np.float32),
            terminated=np.zeros(size, dtype=np.bool_),
            truncated=np.zeros(size, dtype=np.bool_),
            valid=np.zeros(size, dtype=np.bool_),
            td_errors=np.zeros((steps, columns if td_errors else 0), dtype=np.float32),
        )

    def outcome(self, t: int) -> tuple[NDArray[Any], ...]:
        """Where environments write what step t led to: the arrays of `Environments.step`."""
        return (
            self.observations[t + 1],
            self.rewards[t],
            self.terminated[t],
            self.truncated[t],
            self.valid[t],
        )

    def part(self, first: int, steps: int) -> Self:
        """Views of `steps` rows from `first` on, with the observation that follows them."""
        chosen = slice(first, first + steps)
        return type(self)(
            self.observations[first : first + steps + 1],
            self.actions[chosen],
            self.logp[chosen],
            self.rewards[chosen],
            self.terminated[chosen],
            self.truncated[chosen],
            self.valid[chosen],
            self.td_errors[chosen],
        )

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rewards)


@dataclass(frozen=True)
class Fragment:
    """Rows sampled in one go with weights `version`, and the episodes that ended in them.

    `sample_s` is the time it took, `finished_s` when the last row was written (time.monotonic).
    The rows may be views that are overwritten later: whoever hands out a fragment says until when.
    """

    rows: Rows
    episodes: Episodes
    version: int
    sample_s: float
    finished_s: float

    @property
    def env_steps(self) -> int:
        """Transitions in it: rows that are not valid are none."""
        return int(np.count_nonzero(self.rows.valid))

"""What samplers and evaluators ask of the environments and policies they are given."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.spaces import Spaces

Arrays = dict[str, NDArray[Any]]
Record = dict[str, Any]
"""Plain JSON values."""


class Environments(Protocol):
    """B columns stepped together, in one process; a column is an environment, or one agent of one.

    An ended episode is followed by the next: the step after its end takes no action but shows the
    next one's first observation (Gymnasium's next-step autoreset).
    """

    spaces: Spaces
    count: int
    """B."""
    failures: int
    """Environments that raised and were replaced, since this was made."""

    def reset(self, observations: NDArray[Any]) -> None:
        """Start an episode everywhere; write the first observations [B, ...]."""

    def step(
        self,
        actions: NDArray[Any],
        observations: NDArray[Any],
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        valid: NDArray[np.bool_],
    ) -> None:
        """One step everywhere with a policy's actions [B, ...]; the other arrays [B, ...] are
        written, all of them.

        Where `valid` comes out False there was no transition: reward 0, both flags False.
        """

    def state(self) -> tuple[Record, Arrays]:
        """What `restore` needs to go on where the environments stand."""

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        """Go on from `state`; write the current observations. False if new episodes were begun
        instead.
        """

    def close(self) -> None:
        """Release what the environments hold."""


class ActingPolicy(Protocol):
    """A policy in the form that acts: fast for few rows, and never trained itself."""

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over published weights."""

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Random actions for raw observations [B, ...], and their log-probabilities [B]."""

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        """The most likely actions for raw observations [B, ...]."""


@runtime_checkable
class RatingPolicy(ActingPolicy, Protocol):
    """One that also says how wrong its values were, for a prioritised replay to begin with."""

    def rate(self, rows: Rows, first: int) -> None:
        """Write the `td_errors` of a block whose rows from `first` on it has just acted in, all
        columns in each; the row before, if there is one, is no transition.
        """

    def remembered(self) -> Arrays:
        """What the next block's errors depend on of those before."""

    def remember(self, arrays: Arrays) -> None:
        """Go on from `remembered`."""

"""What the training loop asks of a learner, whatever its algorithm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.interfaces import Arrays, Record

if TYPE_CHECKING:
    from covey.algorithms.replay import Replay


@dataclass(frozen=True)
class LearnerState:
    """All that later updates depend on; one safetensors file each, and plain JSON."""

    model: Arrays
    optimizer: Arrays
    normalizer: Arrays
    record: Record


class Learner(Protocol):
    """Turns fragments into better weights, update after update."""

    def weights(self) -> Weights:
        """A copy of what acting needs."""

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        """Learn from fragments; `progress` in [0, 1] is how much of the training is over.

        `gradient_steps` and `frames` (transitions in them) are among the figures.
        """

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""


class ReplayLearner(Protocol):
    """Takes gradient steps on minibatches of a replay buffer."""

    def weights(self) -> Weights:
        """A copy of what acting needs."""

    def set_progress(self, env_steps: int, total: int | None) -> None:
        """How far the training is, for what is scheduled by it."""

    def update(self, replay: "Replay") -> None:
        """One gradient step."""

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call."""

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""

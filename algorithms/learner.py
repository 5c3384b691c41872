"""What the training loop asks of a learner, whatever its algorithm."""

from dataclasses import dataclass
from typing import Protocol

from covey.platform.runtime.fragment import Fragment, Weights
from covey.platform.runtime.interfaces import Arrays, Record


@dataclass(frozen=True)
class LearnerState:
    """All that later updates depend on; one safetensors file each, and plain JSON."""

    model: Arrays
    optimizer: Arrays
    normalizer: Arrays
    record: Record


class Learner(Protocol):
    """Turns fragments into better weights:

    weights = learner.weights()
    while training:
        fragments = [sampler.sample(weights) for sampler in samplers]
        metrics = learner.update(progress, *fragments)
        weights = learner.weights()
    """

    def weights(self) -> Weights:
        """A copy of what acting needs; its version grows with each update."""

    def update(self, progress: float, *fragments: Fragment) -> dict[str, float]:
        """Learn from fragments; `progress` in [0, 1] is how much of the training is over."""

    def state(self) -> LearnerState:
        """Copies of everything that later updates depend on."""

    def restore(self, state: LearnerState) -> None:
        """Go on exactly from `state`."""

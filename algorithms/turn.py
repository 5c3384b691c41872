"""One iteration of an algorithm, as the loop around it sees it, and what it works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from covey.algorithms.feed import Feed
from covey.algorithms.progress import Progress
from covey.platform.runtime.meter import Meter
from covey.platform.runtime.weights_channel import WeightsWriter


@dataclass(frozen=True)
class Channels:
    """The learner's ends of everything.

    `lock_step`: samplers write a block only when asked, and all are waited for.
    """

    feed: Feed
    weights: WeightsWriter
    progress: Progress
    meter: Meter
    lock_step: bool


class Turn(Protocol):
    """The part of the training loop that differs between on-policy algorithms and replay."""

    def take(self, total: int | None) -> bool:
        """Take in new rows, learn from them, publish. False when there was nothing to do yet.

        `total` are the environment steps of the whole training, for what is scheduled by them.
        """

    def catch_up(self) -> None:
        """Take note of rows that are kept, but learn nothing."""

    def metrics(self) -> Mapping[str, float]:
        """Figures of the updates since the last call."""

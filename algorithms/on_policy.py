"""A turn of an on-policy algorithm: one block of every sampler, one update, new weights."""

import time
from collections.abc import Mapping

from covey.algorithms.learner import Learner
from covey.algorithms.turn import Channels

PATIENCE_S = 0.5
"""A sampler that was lost is replaced meanwhile; the driver hears from us in between."""


class OnPolicyTurn:
    """Samplers act with the newest weights only: they wait while the learner updates."""

    def __init__(self, learner: Learner, channels: Channels) -> None:
        self._learner = learner
        self._channels = channels
        self._metrics: dict[str, float] = {}
        # Or a quick sampler has written its second block with the first weights before it is told.
        channels.feed.hold()
        self._version = channels.weights.publish(learner.weights().arrays)

    def take(self, total: int | None) -> bool:
        """See `Turn`."""
        began, to = time.monotonic(), self._channels
        to.feed.allow(1)
        fragments = to.feed.wait(PATIENCE_S)
        if fragments is None:
            return False
        taken = time.monotonic()
        done = to.progress.env_steps / total if total else 0.0
        learned = self._learner.update(done, *fragments)
        updates = int(learned.pop("gradient_steps"))
        to.progress.updates += updates
        to.meter.count(
            samples=to.progress.take_in(fragments),
            updates=updates,
            frames=int(learned.pop("frames")),
            ages=[self._version - fragment.version for fragment in fragments],
            transfer_s=[taken - fragment.finished_s for fragment in fragments],
        )
        to.feed.release()
        self._version = to.weights.publish(self._learner.weights().arrays)
        self._metrics = {
            "sample_s": max(fragment.sample_s for fragment in fragments),
            "iteration_s": time.monotonic() - began,
            **learned,  # where workers compute gradients, an iteration is one of theirs
        }
        return True

    def catch_up(self) -> None:
        """Nothing: rows that are not learnt from are not kept."""

    def metrics(self) -> Mapping[str, float]:
        """The newest update's figures."""
        return self._metrics

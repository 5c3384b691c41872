"""A turn of an asynchronous on-policy algorithm: whichever rollouts are there, one update, new
weights; samplers do not wait for it.
"""

import time
from collections.abc import Mapping

from covey.algorithms.learner import Learner
from covey.algorithms.on_policy import PATIENCE_S
from covey.algorithms.turn import Channels
from covey.platform.runtime.fragment import Fragment


class AsynchronousTurn:
    """An update takes `blocks` of the samplers' blocks, in the order in which they come (None: as
    many as there are samplers); those acted with weights more than `max_age` updates old are
    dropped. The learner gives out weights of `lag` updates ago.

    In lock-step every sampler writes a block with the newest weights, and so on.
    """

    def __init__(
        self, learner: Learner, channels: Channels, *, blocks: int | None, max_age: int, lag: int
    ) -> None:
        self._learner, self._channels = learner, channels
        self._blocks, self._max_age, self._lag = blocks, max_age, lag
        self._metrics: dict[str, float] = {}
        self._dropped = 0
        if channels.lock_step:
            channels.feed.hold()  # or a quick sampler is two blocks on before it is told
        self._version = channels.weights.publish(learner.weights().arrays)

    def take(self, total: int | None) -> bool:
        """See `Turn`."""
        began, to = time.monotonic(), self._channels
        fragments = self._fragments()
        if fragments is None:
            return False
        taken = time.monotonic()
        done = to.progress.env_steps / total if total else 0.0
        ages = [self._version - fragment.version for fragment in fragments]
        fresh = [one for one, age in zip(fragments, ages, strict=True) if age <= self._max_age]
        learned = self._learner.update(done, *fresh) if fresh else {}
        updates = int(learned.pop("gradient_steps", 0))
        to.progress.updates += updates
        to.meter.count(
            samples=to.progress.take_in(fragments),
            updates=updates,
            frames=int(learned.pop("frames", 0)),
            ages=[age + self._lag for age in ages],
            transfer_s=[taken - fragment.finished_s for fragment in fragments],
        )
        self._dropped += sum(one.env_steps for one in fragments) - sum(
            one.env_steps for one in fresh
        )
        to.feed.release()
        if fresh:
            self._version = to.weights.publish(self._learner.weights().arrays)
            self._metrics = {"iteration_s": time.monotonic() - began, **learned}
        return True

    def _fragments(self) -> list[Fragment] | None:
        feed = self._channels.feed
        if not self._channels.lock_step:
            return feed.gather(self._blocks, PATIENCE_S)
        feed.allow(1)
        return feed.wait(PATIENCE_S)

    def catch_up(self) -> None:
        """Nothing: rows that are not learnt from are not kept."""

    def metrics(self) -> Mapping[str, float]:
        """The newest update's figures, and the steps that were dropped so far."""
        return {**self._metrics, "dropped_steps": float(self._dropped)}

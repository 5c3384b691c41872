"""A turn of an algorithm with replay: take note of new rows, make the updates that are owed."""

import math
import time
from collections.abc import Mapping

from covey.algorithms.learner import ReplayLearner
from covey.algorithms.replay import Replay
from covey.algorithms.turn import Channels
from covey.platform.runtime.control import NO_LIMIT

TURN_S = 0.02
"""So often at least new rows are noticed and new weights published while many updates are owed."""
IDLE_S = 2e-4
AHEAD_BLOCKS = 2
"""Blocks that each sampler may be ahead of the updates owed for them, at least."""


class ReplayTurn:
    """Keeps `updates_per_step` gradient steps a transition after the first `learning_starts`;
    without it, both sides run free (in one process: a block, then updates for `TURN_S`).

    In lock-step every sampler writes a block, all updates owed for it are made, and so on: the
    same numbers on every machine. Else samplers run ahead a little and nobody waits.
    """

    def __init__(
        self,
        learner: ReplayLearner,
        replay: Replay,
        channels: Channels,
        *,
        updates_per_step: float | None,
        learning_starts: int,
        batch_size: int,
    ) -> None:
        self._learner = learner
        self._replay = replay
        self._feed = channels.feed
        self._weights = channels.weights
        self._progress = channels.progress
        self._meter = channels.meter
        self._lock_step = channels.lock_step
        self._ratio = updates_per_step
        self._starts = max(learning_starts, batch_size)
        self._batch_size = batch_size
        self._made = 1
        self._lost_before = 0
        if self._lock_step:
            self._feed.hold()  # or a quick sampler is two blocks on before it is told
        else:
            self._permit()
        self._version = channels.weights.publish(learner.weights().arrays)

    def take(self, total: int | None) -> bool:
        """See `Turn`."""
        self._permit()
        noticed = self._notice()
        if noticed is None:
            return False
        updates = self._update(total)
        if updates:
            self._version = self._weights.publish(self._learner.weights().arrays)
        elif not noticed and not self._lock_step:
            time.sleep(IDLE_S)
        return bool(updates or noticed)

    def catch_up(self) -> None:
        """See `Turn`. In lock-step every turn ends with all rows noted."""
        if not self._lock_step:
            self._notice()

    def _permit(self) -> None:
        if self._lock_step:
            self._feed.allow(1)
            return
        if self._ratio is None:
            return  # at first there is no limit
        # Never so few that samplers would wait while the learner is busy with one turn.
        streams = self._feed.streams
        block = sum(stream.spec.steps * stream.spec.columns for stream in streams)
        ahead = max(AHEAD_BLOCKS * block, 2 * self._made / self._ratio)
        paid = self._starts + self._progress.updates / self._ratio
        blocks = math.ceil((paid + ahead - self._progress.env_steps) / block)
        for stream in streams:
            wanted = stream.blocks_taken + max(0, blocks)
            # Never taken back: a block for it may be on its way from another node.
            if wanted > stream.permitted or stream.permitted == NO_LIMIT:
                stream.permit(wanted)

    def _notice(self) -> int | None:
        """Count new rows; how many transitions. None when in lock-step a block is missing."""
        if self._lock_step:
            waited = self._feed.wait(0.5)
            if waited is None:
                return None
            fragments = waited
        else:
            fragments = self._feed.poll()
        if not fragments:
            return 0
        now = time.monotonic()
        steps, lost = self._progress.take_in(fragments), self._lost()
        self._meter.count(
            samples=steps + lost,
            ages=[self._version - fragment.version for fragment in fragments],
            transfer_s=[now - fragment.finished_s for fragment in fragments],
            lost=lost,
        )
        self._feed.release()
        return steps

    def _lost(self) -> int:
        """Transitions overwritten before they could be noticed, since the last call."""
        streams = self._feed.streams
        lost = sum(s.blocks_lost * s.spec.steps * s.spec.columns for s in streams)
        lost, self._lost_before = lost - self._lost_before, lost
        return lost

    def _owed(self) -> float:
        """Gradient steps not made yet."""
        learnable = self._progress.env_steps - self._starts
        if learnable < 0 or not len(self._replay):
            return 0
        if self._ratio is None:
            return math.inf
        return math.floor(learnable * self._ratio) - self._progress.updates

    def _update(self, total: int | None) -> int:
        """Gradient steps until none is owed or, outside lock-step, the turn's time is over."""
        owed, made = self._owed(), 0
        to_the_last = self._lock_step and owed < math.inf
        deadline_s = math.inf if to_the_last else time.monotonic() + TURN_S
        if owed > 0:
            self._learner.set_progress(self._progress.env_steps, total)
        while made < owed and time.monotonic() < deadline_s:
            self._learner.update(self._replay)
            made += 1
            self._progress.updates += 1
        self._made = max(1, made)
        self._meter.count(updates=made, frames=made * self._batch_size)
        return made

    def metrics(self) -> Mapping[str, float]:
        """Means over the updates since the last call."""
        return self._learner.metrics()

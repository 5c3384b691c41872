"""Lives where the learner lives: takes in what samplers wrote, updates, publishes, counts."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from covey.algorithms.coded import Coded, make_pool
from covey.algorithms.feed import Feed
from covey.algorithms.learner import LearnerState
from covey.algorithms.orders import Ask, Interrupted, OrderTaker, Report, Slice
from covey.algorithms.other_learners import OtherLearners
from covey.algorithms.progress import Progress
from covey.algorithms.section import RLSection, number_of_learners
from covey.algorithms.shard_seats import Shards
from covey.algorithms.turn import Channels, Turn
from covey.platform.runtime.crew import Crew, InlineCrew
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.gpu import GpuLoad
from covey.platform.runtime.interfaces import Record
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.meter import Meter
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.threads import one_blas_thread
from covey.platform.runtime.weights_channel import WeightsWriter


class LearnerLoop:
    """Turn after turn, in slices. The same class inline or as a Ray actor."""

    def __init__(
        self,
        section: RLSection,
        spaces: Spaces,
        seed: int,
        threads: int,
        helpers: Callable[[], Crew] = InlineCrew,
    ) -> None:
        one_blas_thread()
        keep_freed_memory()
        self._section = section
        self._made_with = spaces, seed, threads
        self._events: list[tuple[str, str]] = []
        self._helpers: Crew | None = None
        self._seed, self._make_helpers = seed, helpers
        # Of a kind that the algorithm's own turns know.
        self._learner: Any = self._make_learner(spaces, seed, threads)
        self._others: OtherLearners | None = None
        if section.coded is not None:
            self._share_work(section, section.coded, seed, self._crew())
        elif number_of_learners(section) > 1:
            self._others = OtherLearners(self._crew(), section, spaces, seed, threads)
        self._progress = Progress()
        self._meter: Meter | None = None
        self._turn: Turn | None = None
        self._orders: OrderTaker | None = None

    def _make_learner(self, spaces: Spaces, seed: int, threads: int) -> Any:
        algorithm, devices = self._section.algorithm, self._section.devices
        if devices is None:
            return algorithm.make_learner(spaces, seed, threads)
        assert algorithm.name == "sac"  # as `check_devices` has seen to
        return algorithm.make_split_learner(spaces, seed, threads, devices.delay, self._crew())

    def _crew(self) -> Crew:
        """This learner's own workers, who end with it."""
        if self._helpers is None:
            self._helpers = self._make_helpers()
        return self._helpers

    def _share_work(self, section: RLSection, coded: Coded, seed: int, helpers: Crew) -> None:
        work = self._learner.work(None if section.learners is None else section.learners.count)
        pool = make_pool(coded, work, seed, helpers, self._note)
        pool.meanwhile = self._meanwhile
        self._learner.pool = pool

    def _note(self, kind: str, message: str) -> None:
        self._events.append((kind, message))

    def _told(self) -> tuple[tuple[str, str], ...]:
        events, self._events = tuple(self._events), []
        return events

    def _meanwhile(self) -> None:
        """In an update that waits for others."""
        if self._orders is not None:
            self._orders.meanwhile(
                lambda: Report({}, {}, self._progress.to_record(), 0, self._told(), waiting=True)
            )

    def weights(self) -> Weights:
        """What acting needs now."""
        weights: Weights = self._learner.weights()
        return weights

    def remake(self, section: RLSection) -> None:
        """Go on with a learner that has other settings; `connect` comes next."""
        state, _ = self.state()
        self._section = section
        self._learner = self._make_learner(*self._made_with)
        self._learner.restore(state)

    def connect(
        self,
        streams: Sequence[Callable[[], Stream]],
        archives: Sequence[Callable[[], Stream]],
        weights: Callable[[], WeightsWriter],
        lock_step: bool,
        samplers: Sequence[Callable[[], bool]] = (),
        orders: Callable[[], OrderTaker] | None = None,
    ) -> None:
        """Open this process's ends of the channels, and publish the first weights. Once more, with
        others, when the samplers are others.

        `lock_step`: samplers write a block only when asked, and all are waited for. `orders` are
        for `run`.
        """
        self._orders = None if orders is None else orders()
        if self._others is not None and self._turn is None:
            self._others.join(self._learner)
        shards: int = getattr(self._section.algorithm, "shards", 0)
        if shards and not lock_step:
            self._learner.memory.share(Shards(shards, self._crew(), self._note, self._seed))
        if self._meter is None:
            self._meter = Meter(gpu_percent=GpuLoad())  # what it counts begins now
        channels = Channels(
            Feed([one() for one in streams], [one() for one in archives], samplers),
            weights(),
            self._progress,
            self._meter,
            lock_step,
        )
        self._turn = self._section.algorithm.make_turn(self._learner, channels)

    def run(self) -> None:
        """Follow orders until told to end."""
        assert self._orders is not None
        while (order := self._orders.take()) is not Ask.END:
            if isinstance(order, Slice):
                with suppress(Interrupted):
                    self._orders.tell(self.learn(order))
            else:
                self._orders.tell_state(*self.state())

    def learn(self, part: Slice) -> Report:
        """Go on until the slice is over."""
        assert self._turn is not None and self._meter is not None
        watched = nullcontext if self._others is None else self._others.watched
        progress, began = self._progress, time.monotonic()
        last_step = progress.env_steps + part.env_steps
        turns = 0
        while True:
            with watched():
                turns += self._turn.take(part.until_env_steps)
            if (
                time.monotonic() - began >= part.seconds
                or progress.env_steps >= last_step
                or progress.env_steps >= (part.until_env_steps or math.inf)
                or progress.has_reached(part.until_return)
            ):
                break
        metrics = {**progress.metrics(), **self._turn.metrics()}
        if turns:  # a slice in which nothing could be done is part of the next one's interval
            metrics |= self._meter.read((*part.pids, *self._pids()))
        return Report(metrics, self._meter.whole(), progress.to_record(), turns, self._told())

    def _pids(self) -> Iterable[int]:
        return () if self._helpers is None else self._helpers.pids().values()

    def state(self) -> tuple[LearnerState, Record]:
        """Copies of all that later updates depend on, besides the rows in the streams; what is in
        them counts.
        """
        if self._turn is not None:
            self._turn.catch_up()
        return self._learner.state(), self._progress.to_record()

    def restore(self, state: LearnerState | None, progress: Record) -> None:
        """Go on exactly from `state`, or from the beginning but for the counters. Call before
        `connect`.
        """
        if state is not None:
            self._learner.restore(state)
        self._progress = Progress.from_record(progress)

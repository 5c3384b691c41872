"""A sampler's end of its channels where the learner is on another node: over a `Relay` worker.

It fills a small ring of its own and makes one call a block. A second call, which it does not wait
for, is answered as soon as there are other orders or weights, or else every `POLL_S`: then its
heartbeat is told of, too. What the learner published last comes with the answers.
"""

import time
from collections import deque
from dataclasses import replace

from covey.platform.runtime.crew import Pending, Worker
from covey.platform.runtime.fragment import Episodes, Rows, Weights
from covey.platform.runtime.relay import Orders, Report, Standing
from covey.platform.runtime.results import Results
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.stream_spec import StreamSpec

POLL_S = 0.25
IN_FLIGHT = 4
"""Blocks on their way to the relay, after which the writer waits."""


class FarEnd:
    """Both a `StreamWriter` and a `WeightsReader`: writer `term` of stream `number`."""

    patience_s = 2e-3  # news take longer anyway, and come sooner where nobody keeps the cores busy

    def __init__(
        self, spec: StreamSpec, number: int, term: int, relay: Worker, results: Results
    ) -> None:
        self.heartbeat_s = time.monotonic()
        self.failures = 0
        self._number, self._term, self._relay, self._results = number, term, relay, results
        self._limit = spec.blocks if not spec.overwrite else None
        self._ring = Stream.create(replace(spec, blocks=1, overwrite=False), shared=False)
        (standing,) = results.fetch([relay.submit("begin", number, term)])
        assert isinstance(standing, Standing)
        if standing.observation is not None:
            self._ring.rows.observations[0] = standing.observation
        self._blocks_written, self._orders = standing.blocks_written, standing.orders
        self._sent: deque[Pending] = deque()
        self._looking: Pending | None = None

    # The stream

    @property
    def stop(self) -> bool:
        self._look()
        if self._orders.stop:  # is it still so? And who ends has all of its blocks arrive first
            while self._sent:
                self._take_in(self._sent.popleft())
            self._take_in(self._ask(0.0))
        return self._orders.stop

    @property
    def fresh(self) -> bool:
        return self._blocks_written == 0

    def begin(self) -> Rows | None:
        self._look()
        orders, ahead = self._orders, self._blocks_written - self._orders.released
        if self._blocks_written >= orders.permitted or orders.newest < 0:  # or it has no weights
            return None
        if len(self._sent) >= IN_FLIGHT or (self._limit is not None and ahead >= self._limit):
            return None
        return self._ring.begin()

    def commit(
        self,
        episodes: Episodes,
        version: int,
        sample_s: float,
        finished_s: float | None = None,
    ) -> None:
        self._ring.commit(episodes, version, sample_s, finished_s)
        fragment = self._ring.take()
        assert fragment is not None
        # Two nodes share no clock but the wall's.
        block = replace(fragment, finished_s=fragment.finished_s + time.time() - time.monotonic())
        arguments = self._number, self._term, self._report(), self._blocks_written, block
        self._sent.append(self._relay.submit("write", *arguments))
        self._ring.release()
        self._blocks_written += 1

    # The weights

    @property
    def newest(self) -> int:
        self._look()
        return self._orders.newest

    def read(self, newer_than: int = -1) -> Weights | None:
        self._look()
        if self._orders.newest <= newer_than or self._orders.weights is None:
            return None
        (weights,) = self._results.fetch([self._orders.weights])
        assert isinstance(weights, Weights)
        return Weights(weights.version, {n: a.copy() for n, a in weights.arrays.items()})

    def _look(self) -> None:
        while self._sent and self._results.is_ready(self._sent[0]):
            self._take_in(self._sent.popleft())
        if self._looking is not None and self._results.is_ready(self._looking):
            self._take_in(self._looking)
            self._looking = None
        if self._looking is None:
            self._looking = self._ask(POLL_S)

    def _ask(self, patience_s: float) -> Pending:
        known = replace(self._orders, weights=None)
        arguments = self._number, self._term, self._report(), known, patience_s
        return self._relay.submit("look", *arguments)

    def _report(self) -> Report:
        return Report(time.monotonic() - self.heartbeat_s, self.failures)

    def _take_in(self, answer: Pending) -> None:
        (orders,) = self._results.fetch([answer])
        assert isinstance(orders, Orders)
        if orders.number > self._orders.number:
            self._orders = orders

    def close(self) -> None:
        """Nothing to do: the relay belongs to its crew."""

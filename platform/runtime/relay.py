"""What samplers on other nodes reach: an actor beside the learner, for whom it writes into memory.

To the learner and the driver a sampler on another node is like any other: its stream lies in shared
memory on their node. `far_end` is the sampler's end.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any

from numpy.typing import NDArray

from covey.platform.runtime.crew import Pending
from covey.platform.runtime.fence import fence
from covey.platform.runtime.fragment import Fragment, Rows
from covey.platform.runtime.stream import Stream, StreamHandle
from covey.platform.runtime.weights_channel import SharedWeights, WeightsHandle

LOOK_S = 0.003
"""Between two looks of a call that waits for news."""


@dataclass(frozen=True)
class Report:
    """The vitals of a sampler: how long ago it was last seen alive, and its failures so far."""

    silent_s: float
    failures: int


@dataclass(frozen=True)
class Orders:
    """What a reader lets its sampler do, and the weights to do it with, of version `newest` (-1:
    none yet): never older than the permission. Of two the one with the greater `number` counts.
    """

    permitted: int
    released: int
    stop: bool
    newest: int
    weights: Pending | None
    number: int

    def tells_nothing_new(self, known: "Orders") -> bool:
        """To who knows those, whose weights it need not be shown."""
        return replace(self, weights=None, number=known.number) == known


@dataclass(frozen=True)
class Standing:
    """Where a new writer goes on: after `blocks_written` blocks, from the observation that the last
    of them led to.
    """

    blocks_written: int
    observation: NDArray[Any] | None
    orders: Orders


class Relay:
    """Writer of the streams of samplers elsewhere, in whose calls threads may be at the same time.
    It keeps nothing that a successor would miss, so it may be started anew at any time. `share`
    lays a value down where any node can fetch it.
    """

    def __init__(
        self,
        streams: Sequence[StreamHandle],
        weights: WeightsHandle,
        share: Callable[[Any], Pending],
    ) -> None:
        self._streams = [handle.attach() for handle in streams]
        self._weights: SharedWeights = weights.attach()
        self._share = share
        self._shared: tuple[int, Pending | None] = (-1, None)
        self._lock = threading.Lock()
        self._numbers = count()

    def begin(self, number: int, term: int) -> Standing:
        """Where writer `term` of a stream goes on."""
        with self._lock:
            stream = self._streams[number]
            written = stream.rows_written
            last = (written - 1) % stream.spec.rows + 1
            seen = stream.rows.observations[last].copy() if written else None
            return Standing(stream.blocks_written, seen, self._orders(stream, term))

    def write(self, number: int, term: int, report: Report, place: int, block: Fragment) -> Orders:
        """Take in a writer's block with that absolute number, after those before it, unless another
        writer has taken its place.
        """
        stream = self._streams[number]
        while term == stream.term and stream.blocks_written < place:
            time.sleep(LOOK_S)  # calls that are made one after another may come otherwise
        with self._lock:
            if term == stream.term:
                _note(stream, report)
                _write(stream, block)
            return self._orders(stream, term)

    def look(
        self, number: int, term: int, report: Report, known: Orders, patience_s: float
    ) -> Orders:
        """What is to be done, as soon as that is something else than what is known."""
        stream, end_s = self._streams[number], time.monotonic() + patience_s
        if term == stream.term:
            _note(stream, report)
        while True:
            with self._lock:
                orders = self._orders(stream, term)
            if not orders.tells_nothing_new(known) or time.monotonic() >= end_s:
                return orders
            time.sleep(LOOK_S)

    def _orders(self, stream: Stream, term: int) -> Orders:
        superseded = term != stream.term
        permitted, released, stop = stream.permitted, stream.blocks_released, stream.stop
        fence()  # the weights are looked at after the permission that they were published before
        newest, weights = self._newest_weights()
        return Orders(permitted, released, stop or superseded, newest, weights, next(self._numbers))

    def _newest_weights(self) -> tuple[int, Pending | None]:
        """Laid down once a version, for all who want them."""
        weights = self._weights.read(newer_than=self._shared[0])
        if weights is not None:
            self._shared = weights.version, self._share(weights)
        return self._shared


def _note(stream: Stream, report: Report) -> None:
    stream.heartbeat_s = time.monotonic() - report.silent_s
    stream.failures = report.failures


def _write(stream: Stream, block: Fragment) -> None:
    rows = stream.begin_late()
    if rows is None:
        raise RuntimeError("a block came for which there is no room")
    for field in fields(Rows):
        getattr(rows, field.name)[...] = getattr(block.rows, field.name)
    finished_s = block.finished_s + time.monotonic() - time.time()
    stream.commit(block.episodes, block.version, block.sample_s, finished_s)

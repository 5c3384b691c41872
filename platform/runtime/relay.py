"""What samplers on other nodes reach: an actor beside the learner, for whom it writes into memory.

To the learner and the driver a sampler on another node is like any other: its stream lies in shared
memory on their node. `far_end` is the sampler's end.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from numpy.typing import NDArray

from covey.platform.runtime.crew import Pending
from covey.platform.runtime.fence import fence
from covey.platform.runtime.fragment import Fragment, Rows
from covey.platform.runtime.stream import Stream, StreamHandle
from covey.platform.runtime.weights_channel import SharedWeights, WeightsHandle


@dataclass(frozen=True)
class Report:
    """The vitals of a sampler: how long ago it was last seen alive, and its failures so far."""

    silent_s: float
    failures: int


@dataclass(frozen=True)
class Orders:
    """What a reader lets its sampler do, and the weights to do it with: those of version `newest`
    (-1: none yet) or of an earlier one, but never earlier than the permission.
    """

    permitted: int
    released: int
    stop: bool
    newest: int
    weights: Pending | None


@dataclass(frozen=True)
class Standing:
    """Where a new writer goes on: after `blocks_written` blocks, from the observation that the last
    of them led to.
    """

    blocks_written: int
    observation: NDArray[Any] | None
    orders: Orders


class Relay:
    """Writer of the streams of samplers elsewhere. It keeps nothing that a successor would miss, so
    it may be started anew at any time. `share` lays a value down where any node can fetch it.
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

    def begin(self, number: int, term: int) -> Standing:
        """Where writer `term` of a stream goes on."""
        stream = self._streams[number]
        written = stream.rows_written
        last = (written - 1) % stream.spec.rows + 1
        seen = stream.rows.observations[last].copy() if written else None
        return Standing(stream.blocks_written, seen, self._orders(stream, term))

    def exchange(
        self, number: int, term: int, report: Report, blocks: Sequence[Fragment]
    ) -> Orders:
        """Take in a writer's blocks, in order, unless another writer has taken its place."""
        stream = self._streams[number]
        if term == stream.term:
            stream.heartbeat_s = time.monotonic() - report.silent_s
            stream.failures = report.failures
            for block in blocks:
                _write(stream, block)
        return self._orders(stream, term)

    def _orders(self, stream: Stream, term: int) -> Orders:
        superseded = term != stream.term
        permitted, released, stop = stream.permitted, stream.blocks_released, stream.stop
        fence()  # the weights are looked at after the permission that they were published before
        return Orders(permitted, released, stop or superseded, *self._newest_weights())

    def _newest_weights(self) -> tuple[int, Pending | None]:
        """Laid down once a version, for all who want them."""
        weights = self._weights.read(newer_than=self._shared[0])
        if weights is not None:
            self._shared = weights.version, self._share(weights)
        return self._shared


def _write(stream: Stream, block: Fragment) -> None:
    rows = stream.begin()
    if rows is None:
        raise RuntimeError("a block came that nobody had given leave for")
    for field in fields(Rows):
        getattr(rows, field.name)[...] = getattr(block.rows, field.name)
    finished_s = block.finished_s + time.monotonic() - time.time()
    stream.commit(block.episodes, block.version, block.sample_s, finished_s)

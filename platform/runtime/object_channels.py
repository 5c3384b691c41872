"""Channels between two machines: the twins of those in shared memory, over a `Mailbox` worker.

Each side keeps a small ring or a copy of its own and calls the mailbox: about one call a block, and
while there is nothing to do one every `POLL_S`. Nobody waits for an answer except `publish` and
`read`, which make sure that weights published before a permission are those that are read after it.
The heartbeat travels with those calls: it is as old as the block that is being sampled.
"""

import time
from collections import deque
from dataclasses import dataclass, fields, replace

from covey.platform.runtime.crew import Pending, Worker
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.mailbox import Delivery, Orders, Report, Standing
from covey.platform.runtime.results import Results
from covey.platform.runtime.ring import Ring
from covey.platform.runtime.segment import PrivateMemory
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.stream_spec import StreamSpec

POLL_S = 0.01
IN_FLIGHT = 4
"""Blocks on their way to the mailbox, after which a writer waits."""
BACKLOG = 16
"""Blocks in the mailbox, after which even a replay stream's writer waits: its reader is gone, or
far too slow, and the mailbox is no replay buffer.
"""


@dataclass(frozen=True)
class ObjectStreamHandle:
    """Opens the sampler's side. Picklable if worker and results are."""

    spec: StreamSpec
    name: str
    mailbox: Worker
    results: Results

    @property
    def backlog(self) -> int:
        """How far the writer may be ahead."""
        return min(BACKLOG, self.spec.blocks) if self.spec.overwrite else self.spec.blocks

    def attach(self) -> "ObjectStreamWriter":
        return ObjectStreamWriter(self)


class ObjectStreamWriter:
    """The sampler's side."""

    def __init__(self, handle: ObjectStreamHandle) -> None:
        self.heartbeat_s = 0.0
        self.failures = 0
        self._handle = handle
        self._ring = Stream.create(replace(handle.spec, blocks=1, overwrite=False), shared=False)
        begin = handle.mailbox.submit("begin_term", handle.name)
        standing: Standing = handle.results.fetch([begin])[0]
        if standing.observation is not None:
            self._ring.rows.observations[0] = standing.observation
        self._term, self._orders = standing.term, standing.orders
        self._blocks_written = standing.blocks_written
        self._sent: deque[Pending] = deque()
        self._ask_at = 0.0

    @property
    def stop(self) -> bool:
        self._look()
        return self._orders.stop

    @property
    def fresh(self) -> bool:
        return self._blocks_written == 0

    def begin(self) -> Rows | None:
        self._look()
        ahead = self._blocks_written - self._orders.released
        if self._blocks_written >= self._orders.permitted or ahead >= self._handle.backlog:
            return None
        return self._ring.begin() if len(self._sent) < IN_FLIGHT else None

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
        own = Rows(*(getattr(fragment.rows, f.name).copy() for f in fields(Rows)))
        self._ring.release()
        self._blocks_written += 1
        self._send(replace(fragment, rows=own, finished_s=fragment.finished_s + _wall_clock()))

    def _look(self) -> None:
        results = self._handle.results
        while self._sent and results.is_ready(self._sent[0]):
            self._orders = results.fetch([self._sent.popleft()])[0]
        if not self._sent and time.monotonic() >= self._ask_at:
            self._send()

    def _send(self, *blocks: Fragment) -> None:
        heartbeat_s = self.heartbeat_s + _wall_clock()
        report = Report(heartbeat_s, self.failures)
        arguments = self._handle.name, self._term, report, blocks
        self._sent.append(self._handle.mailbox.submit("exchange", *arguments))
        self._ask_at = time.monotonic() + POLL_S

    def close(self) -> None:
        """Nothing to do: the mailbox belongs to its crew."""


class ObjectStreamReader(Ring):
    """The learner's side: a ring of this process, filled whenever somebody looks at it."""

    def __init__(self, handle: ObjectStreamHandle) -> None:
        memory = PrivateMemory(handle.spec.layout.size_bytes)
        super().__init__(handle.spec, memory)
        self._reset_words()
        self.handle = handle
        self._filler = Ring(handle.spec, memory)  # whose own looking does not fill it
        self._asked: Pending | None = None
        self._ask_at = 0.0

    @classmethod
    def create(
        cls, spec: StreamSpec, name: str, mailbox: Worker, results: Results
    ) -> "ObjectStreamReader":
        """A new stream; `name` tells it from the mailbox's other ones."""
        reader = cls(ObjectStreamHandle(spec, name, mailbox, results))
        # Waited for: another's call could come before it, since Ray orders one caller's alone.
        results.fetch([mailbox.submit("begin_line", name, 0, None)])
        return reader

    @classmethod
    def attach(cls, handle: ObjectStreamHandle) -> "ObjectStreamReader":
        """Go on after a reader that died: after the blocks it released."""
        reader = cls(handle)
        released = handle.mailbox.submit("released", handle.name)
        reader._begin_at(handle.results.fetch([released])[0])
        return reader

    def _begin_at(self, block: int) -> None:
        self._taken = block
        self._set_blocks_released(block)
        self._set_blocks_written(block)
        self._oldest_loaded_row = block * self.spec.steps

    @property
    def blocks_written(self) -> int:
        self._fill()
        return self._filler.blocks_written

    def _set_stop(self, stop: bool) -> None:
        super()._set_stop(stop)
        self._direct()

    def permit(self, blocks: int) -> None:
        super().permit(blocks)
        self._direct()

    def release(self) -> None:
        super().release()
        self._direct()

    def load(self, rows: Rows, written: int, oldest_row: int = 0) -> None:
        super().load(rows, written, oldest_row)
        blocks = written // self.spec.steps
        last = self.rows.observations[((written - 1) % self.spec.rows) + 1].copy()
        self.handle.mailbox.submit("begin_line", self.handle.name, blocks, last)
        self._direct()

    def _orders(self) -> Orders:
        # What has arrived in a replay ring is safe from the mailbox's point of view.
        arrived = self._filler.blocks_written
        released = arrived if self.spec.overwrite else self.blocks_released
        return Orders(self.permitted, released, self.stop)

    def _direct(self) -> None:
        self.handle.mailbox.submit("direct", self.handle.name, self._orders())

    def _fill(self) -> None:
        if self._asked is None and time.monotonic() >= self._ask_at:
            self._ask()
        if self._asked is None or not self.handle.results.is_ready(self._asked):
            return
        delivery: Delivery = self.handle.results.fetch([self._asked])[0]
        self._asked = None
        for block in delivery.blocks:
            self._store(block)
        self._note(delivery.report)
        self._ask_at = time.monotonic() + (0.0 if delivery.blocks else POLL_S)

    def _ask(self) -> None:
        first = self._filler.blocks_written
        room = self.handle.backlog
        if not self.spec.overwrite:
            room -= first - self.blocks_released
        arguments = self.handle.name, self._orders(), first, room
        self._asked = self.handle.mailbox.submit("collect", *arguments)

    def _store(self, block: Fragment) -> None:
        first = self._filler.blocks_written % self.spec.slots * self.spec.steps
        place = self.rows.part(first, self.spec.steps)
        for f in fields(Rows):
            getattr(place, f.name)[...] = getattr(block.rows, f.name)
        finished_s = block.finished_s - _wall_clock()
        self._filler.commit(block.episodes, block.version, block.sample_s, finished_s)

    def _note(self, report: Report) -> None:
        self.heartbeat_s = report.heartbeat_s - _wall_clock()
        self.failures = report.failures


def _wall_clock() -> float:
    """What to add to this machine's monotonic clock."""
    return time.time() - time.monotonic()

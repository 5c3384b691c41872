"""Where channels between two machines meet: a worker that keeps what is on its way.

It answers at once, always; whoever waits for something asks again. `object_channels` are the ends.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from covey.platform.runtime.control import NO_LIMIT
from covey.platform.runtime.fragment import Fragment, Weights


@dataclass(frozen=True)
class Report:
    """The vitals of a sampler. Times are those of the wall clock, the only one that two machines
    share.
    """

    heartbeat_s: float = 0.0
    failures: int = 0


@dataclass(frozen=True)
class Orders:
    """What a reader lets its sampler do."""

    permitted: int = NO_LIMIT
    released: int = 0
    stop: bool = False


@dataclass(frozen=True)
class Delivery:
    """Blocks for a reader, in order, and the sampler's latest report."""

    blocks: tuple[Fragment, ...]
    report: Report


@dataclass(frozen=True)
class Standing:
    """Where a new writer goes on: as writer number `term`, after `blocks_written` blocks, from the
    observation that the last of them led to.
    """

    term: int
    blocks_written: int
    observation: NDArray[Any] | None
    orders: Orders


@dataclass
class Line:
    """One stream: the blocks that its reader has not released."""

    blocks: deque[Fragment] = field(default_factory=deque)
    report: Report = Report()
    standing: Standing = Standing(0, 0, None, Orders())

    @property
    def first(self) -> int:
        """The absolute number of the oldest block kept."""
        return self.standing.blocks_written - len(self.blocks)


class Mailbox:
    """The newest weights, and a line a stream. The same class inline or as a Ray actor."""

    def __init__(self) -> None:
        self._weights: Weights | None = None
        self._lines: dict[str, Line] = {}

    def publish(self, arrays: dict[str, NDArray[Any]]) -> int:
        """Make these the newest weights; their version."""
        self._weights = Weights(self.newest() + 1, arrays)
        return self._weights.version

    def newest(self) -> int:
        """The newest weights' version, -1 before the first."""
        return -1 if self._weights is None else self._weights.version

    def weights(self, newer_than: int) -> Weights | None:
        """The newest weights, if they are newer than that."""
        return self._weights if self.newest() > newer_than else None

    def begin_line(self, stream: str, blocks: int, observation: NDArray[Any] | None) -> None:
        """A stream in which that many blocks were written before, the last of which led to this
        observation.
        """
        standing = Standing(0, blocks, observation, Orders(released=blocks))
        self._lines[stream] = Line(standing=standing)

    def begin_term(self, stream: str) -> Standing:
        """Let a new writer in. What an earlier one sent and did not arrive yet is dropped."""
        line = self._lines[stream]
        line.standing = replace(line.standing, term=line.standing.term + 1)
        return line.standing

    def exchange(
        self, stream: str, term: int, report: Report, blocks: Sequence[Fragment]
    ) -> Orders:
        """Take in a writer's blocks, in order."""
        line = self._lines[stream]
        if term == line.standing.term:
            line.report = report
            for block in blocks:
                line.blocks.append(block)
                line.standing = replace(
                    line.standing,
                    blocks_written=line.standing.blocks_written + 1,
                    observation=block.rows.observations[-1],
                )
        return line.standing.orders

    def direct(self, stream: str, orders: Orders) -> None:
        """Take in a reader's orders; drop the blocks it released."""
        line = self._lines[stream]
        line.standing = replace(line.standing, orders=orders)
        while line.blocks and line.first < orders.released:
            line.blocks.popleft()

    def released(self, stream: str) -> int:
        """After how many blocks a new reader begins."""
        return self._lines[stream].standing.orders.released

    def collect(self, stream: str, orders: Orders, first: int, most: int) -> Delivery:
        """Take in a reader's orders; at most so many of the blocks from that one on."""
        self.direct(stream, orders)
        line = self._lines[stream]
        blocks = list(line.blocks)[first - line.first :][:most]
        return Delivery(tuple(blocks), line.report)

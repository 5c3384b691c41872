"""The two sides of a sampler's stream of blocks, whatever carries it.

The sampler:                                     The learner:

    while not stream.stop:                           while (fragment := stream.take()) is None:
        rows = stream.begin()                            ...
        if rows is None: wait a moment               learn(fragment)
        else:                                        stream.release()
            fill(rows)
            stream.commit(episodes, version, s)      or, from a replay stream, at any time:
                                                         rows from oldest_row to rows_written
"""

from typing import Any, Protocol

from numpy.typing import NDArray

from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.stream_spec import StreamSpec


class Vitals(Protocol):
    """What both sides can ask while blocks travel. The sampler's side alone sets these."""

    heartbeat_s: float
    """When the sampler was last seen alive (time.monotonic)."""
    failures: int
    """Environments that it had to replace."""


class StreamWriter(Vitals, Protocol):
    """The sampler's side: one process at a time. After its death another one may go on."""

    patience_s: float
    """Between two looks for permission: long enough to leave the core to others."""

    @property
    def stop(self) -> bool:
        """Whether the sampler is asked to end."""

    @property
    def fresh(self) -> bool:
        """Nothing has been written yet, so row 0 of the first block lacks its observation."""

    def begin(self) -> Rows | None:
        """The next block, to be filled. None when there is no room, or no permission: ask again.

        `observations[0]` is what the last block's last step led to, unless `fresh`. A sampler whose
        environments start anew in the middle makes row 0 a row that is no transition.
        """

    def commit(
        self,
        episodes: Episodes,
        version: int,
        sample_s: float,
        finished_s: float | None = None,
    ) -> None:
        """Hand over the block that `begin` gave; it was finished now, or then (time.monotonic)."""


class StreamReader(Vitals, Protocol):
    """The learner's side: one process at a time. After its death another one goes on after the
    blocks that were released.
    """

    spec: StreamSpec
    stop: bool
    """Ask the sampler to end."""
    rows: Rows
    """The whole ring; absolute row r lies at r % rows.steps, what it led to one further on."""
    version: NDArray[Any]
    """Of each block's weights [blocks]; absolute block k lies at k % len(version)."""
    finished_s: NDArray[Any]
    """When each block was finished [blocks] (time.monotonic); block k lies at k % len."""

    @property
    def blocks_written(self) -> int:
        """Blocks handed over so far, since the stream was made."""

    @property
    def blocks_taken(self) -> int:
        """Blocks that `take` gave or skipped so far."""

    @property
    def rows_written(self) -> int:
        """The same in rows: absolute rows below this one can be read."""

    @property
    def oldest_row(self) -> int:
        """Absolute rows from this one on can be read.

        A replay stream's writer moves it on at any time: after copying rows out, compare again, and
        drop the rows that are older by then.
        """

    @property
    def blocks_lost(self) -> int:
        """Blocks that `take` never gave because they were overwritten first."""

    @property
    def permitted(self) -> int:
        """How many blocks may be written in all."""

    def permit(self, blocks: int) -> None:
        """Let the sampler go on until that many blocks are written; at first there is no limit."""

    def take(self) -> Fragment | None:
        """The next block in order, as views that are good until `release`; None if there is none.

        A replay stream skips what is overwritten; its views are good as long as `oldest_row` says.
        """

    def release(self) -> None:
        """All blocks taken so far may be overwritten."""

    def load(self, rows: Rows, written: int, oldest_row: int = 0) -> None:
        """Fill a replay stream from a checkpoint, before any writer begins.

        `rows` are the `rows` of a stream of the same shape with `written` rows so far, or the first
        `written` of them where it was not full; those older than `oldest_row` are not to be read.
        Loaded rows are not taken again.
        """

"""The two sides of a sampler's stream of blocks, whatever carries it.

The sampler:                                     The learner:

    while not stream.stop:                           while (fragment := stream.take()) is None:
        rows = stream.begin()                            ...
        if rows is None: wait a moment               learn(fragment)
        else:                                        stream.release()
            fill(rows)
            stream.commit(episodes, version, s)      or, from a replay stream, at any time:
                                                         rows from oldest_row to rows_written

The sampler's is here, the learner's in `ring`.
"""

from typing import Protocol

from covey.platform.runtime.fragment import Episodes, Rows


class StreamWriter(Protocol):
    """The sampler's side: one process at a time. After its death another one may go on."""

    heartbeat_s: float
    """When the sampler was last seen alive (time.monotonic). It alone sets it."""
    failures: int
    """Environments that it had to replace. It alone sets it."""
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

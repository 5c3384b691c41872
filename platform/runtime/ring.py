"""A ring of blocks of rows in some memory: what a stream is within one machine (`stream`), and what
a sampler on another node fills (`far_end`).
"""

from dataclasses import fields
from time import monotonic

import numpy as np

from covey.platform.runtime.control import ControlWords
from covey.platform.runtime.fence import fence
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.layout import floats, integers
from covey.platform.runtime.segment import Memory
from covey.platform.runtime.stream_spec import StreamSpec

KEPT = 1024
"""The views of so many blocks are kept, a kilobyte each: making them takes ten microseconds."""
NO_EPISODES = Episodes(np.empty(0), np.empty(0, dtype=np.int64))


class Ring(ControlWords):
    """Both sides of it; see `StreamWriter` for what the writer's may call.

    A block counts from the moment when `blocks_written` is raised, which happens last. Everything
    a writer or a reader needs to know lies in the memory, so a new one goes on after a dead one: a
    reader after the blocks that were released. Either side is one process at a time.

    `rows` is the whole ring: absolute row r lies at r % rows.steps, what it led to one further on.
    `version` and `finished_s` are of each block's weights and of when it was finished
    (time.monotonic), [slots]: absolute block k lies at k % len.
    """

    patience_s = 2e-4

    def __init__(self, spec: StreamSpec, memory: Memory) -> None:
        views = spec.layout.views(memory.buffer)
        super().__init__(views)
        self.spec = spec
        self.rows = Rows(*(views[f.name] for f in fields(Rows)))
        self.version, self.finished_s = views["version"], views["finished_s"]
        self._version, self._finished_s = integers(self.version), floats(self.finished_s)
        self._sample_s = floats(views["sample_s"])
        self._episodes_end = integers(views["episodes_end"])
        self._returns, self._lengths = views["returns"], views["lengths"]
        self._blocks: dict[int, Rows] = {}
        self._memory = memory
        self._taken = self.blocks_released
        self._blocks_lost = 0

    def _block(self, slot: int) -> Rows:
        rows = self._blocks.get(slot)
        if rows is None:
            rows = self.rows.part(slot * self.spec.steps, self.spec.steps)
            if len(self._blocks) < KEPT:
                self._blocks[slot] = rows
        return rows

    # The writer's side

    @property
    def fresh(self) -> bool:
        """Nothing has been written yet."""
        return self.blocks_written == 0

    def begin(self) -> Rows | None:
        return self.begin_late() if self.blocks_written < self.permitted else None

    def begin_late(self) -> Rows | None:
        """The same for a block that was begun elsewhere with a leave that may be withdrawn by now:
        a writer that is seen at its work then hands its block over, too.
        """
        spec, block = self.spec, self.blocks_written
        if not spec.overwrite and block - self.blocks_released >= spec.blocks:
            return None
        fence()  # what came before the permission is seen, such as the weights to be used
        slot = block % spec.slots
        if slot == 0 and block:
            self.rows.observations[0] = self.rows.observations[-1]
        return self._block(slot)

    def commit(
        self,
        episodes: Episodes,
        version: int,
        sample_s: float,
        finished_s: float | None = None,
    ) -> None:
        block = self.blocks_written
        slot = block % self.spec.slots
        end = self._episodes_before(block)
        if count := len(episodes.returns):
            places = np.arange(end, end + count) % len(self._returns)
            self._returns[places] = episodes.returns
            self._lengths[places] = episodes.lengths
        self._episodes_end[slot] = end + count
        self._version[slot] = version
        self._sample_s[slot] = sample_s
        self._finished_s[slot] = monotonic() if finished_s is None else finished_s
        fence()
        self._set_blocks_written(block + 1)
        fence()  # whoever sees a row of the next block sees that `oldest_row` has moved on, too

    def _episodes_before(self, block: int) -> int:
        end: int = self._episodes_end[(block - 1) % self.spec.slots] if block else 0
        return end

    # The reader's side

    @property
    def rows_written(self) -> int:
        """The blocks written in rows: absolute rows below this one can be read."""
        return self.blocks_written * self.spec.steps

    @property
    def blocks_taken(self) -> int:
        """Blocks that `take` gave or skipped so far."""
        return self._taken

    @property
    def oldest_row(self) -> int:
        """Absolute rows from this one on can be read.

        A replay stream's writer moves it on at any time: after copying rows out, compare again, and
        drop the rows that are older by then.
        """
        spec, written = self.spec, self.blocks_written
        if not spec.overwrite:
            return self.blocks_released * spec.steps
        if written < spec.slots:
            return self._oldest_loaded_row
        # The block being written takes the oldest one's place, and with its last observation the
        # first of the one after.
        return max((written - spec.slots + 1) * spec.steps + 1, self._oldest_loaded_row)

    @property
    def blocks_lost(self) -> int:
        """Blocks that `take` never gave because they were overwritten first."""
        return self._blocks_lost

    def take(self) -> Fragment | None:
        """The next block in order, as views that are good until `release`; None if there is none.

        A replay stream skips what is overwritten; its views are good as long as `oldest_row` says.
        """
        while True:
            oldest = -(-self.oldest_row // self.spec.steps)
            block = max(self._taken, oldest)
            if block >= self.blocks_written:
                return None
            fence()
            fragment = self._fragment(block)
            fence()
            if not self.spec.overwrite or block * self.spec.steps >= self.oldest_row:
                self._blocks_lost += block - self._taken
                self._taken = block + 1
                return fragment

    def _fragment(self, block: int) -> Fragment:
        slot = block % self.spec.slots
        return Fragment(
            self._block(slot),
            self._episodes(self._episodes_before(block), self._episodes_end[slot]),
            self._version[slot],
            self._sample_s[slot],
            self._finished_s[slot],
        )

    def _episodes(self, begin: int, end: int) -> Episodes:
        if begin == end:
            return NO_EPISODES
        places = np.arange(begin, end) % len(self._returns)
        return Episodes(self._returns[places], self._lengths[places])

    def release(self) -> None:
        """All blocks taken so far may be overwritten."""
        fence()  # what was read comes before the permission to overwrite it
        self._set_blocks_released(self._taken)

    def load(self, rows: Rows, written: int, oldest_row: int = 0) -> None:
        """Fill a replay stream from a checkpoint, before any writer begins.

        `rows` are the `rows` of a stream of the same shape with `written` rows so far, or the first
        `written` of them where it was not full; those older than `oldest_row` are not to be read.
        Loaded rows are not taken again.
        """
        steps = min(written, self.spec.rows)
        if not self.spec.overwrite or written % self.spec.steps or rows.steps != steps:
            raise ValueError(f"{rows.steps} rows of {written} for {self.spec}")
        for f in fields(Rows):
            array = getattr(rows, f.name)
            getattr(self.rows, f.name)[: len(array)] = array
        self._oldest_loaded_row = oldest_row
        self._taken = written // self.spec.steps
        self._set_blocks_released(self._taken)
        self._set_blocks_written(self._taken)

    def close(self) -> None:
        """Let go of the memory; views of it stay good."""
        self._memory.close()

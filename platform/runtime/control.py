"""The few numbers that travel beside a stream's blocks: how far each side is, and the vitals."""

from typing import Any

from numpy.typing import NDArray

from covey.platform.runtime.fence import fence
from covey.platform.runtime.layout import Field, Layout, floats, integers

NO_LIMIT = 2**63 - 1

# Each side writes cache lines of its own, so that neither slows the other down.
_WRITER, _CLOCKS, _READER = "writer's words", "writer's clocks", "reader's words"
LAYOUT = Layout(
    (Field(_WRITER, "i8", (8,)), Field(_CLOCKS, "f8", (8,)), Field(_READER, "i8", (8,)))
)
_BLOCKS_WRITTEN, _FAILURES = range(2)
_HEARTBEAT = 0
_BLOCKS_RELEASED, _PERMITTED, _STOP, _OLDEST_ROW, _TERM, _ABSENT = range(6)


class ControlWords:
    """Words of 8 bytes in memory that both sides see. Each is written by one side alone."""

    def __init__(self, views: dict[str, NDArray[Any]]) -> None:
        self._writer = integers(views[_WRITER])
        self._clocks = floats(views[_CLOCKS])
        self._reader = integers(views[_READER])

    def _reset_words(self) -> None:
        self._reader[_PERMITTED] = NO_LIMIT

    @property
    def blocks_written(self) -> int:
        """Blocks handed over so far, since the stream was made."""
        return self._writer[_BLOCKS_WRITTEN]

    def _set_blocks_written(self, blocks: int) -> None:
        self._writer[_BLOCKS_WRITTEN] = blocks

    @property
    def blocks_released(self) -> int:
        """Blocks that the reader needs no more."""
        return self._reader[_BLOCKS_RELEASED]

    def _set_blocks_released(self, blocks: int) -> None:
        self._reader[_BLOCKS_RELEASED] = blocks

    @property
    def permitted(self) -> int:
        """How many blocks may be written in all."""
        return self._reader[_PERMITTED]

    def permit(self, blocks: int) -> None:
        """Let the sampler go on until that many blocks are written; at first there is no limit."""
        fence()  # what came before it is seen by whoever goes by it
        self._reader[_PERMITTED] = blocks

    @property
    def _oldest_loaded_row(self) -> int:
        return self._reader[_OLDEST_ROW]

    @_oldest_loaded_row.setter
    def _oldest_loaded_row(self, row: int) -> None:
        self._reader[_OLDEST_ROW] = row

    @property
    def stop(self) -> bool:
        """Whether the sampler is asked to end."""
        return bool(self._reader[_STOP])

    @stop.setter
    def stop(self, stop: bool) -> None:
        self._set_stop(stop)

    def _set_stop(self, stop: bool) -> None:
        self._reader[_STOP] = stop

    @property
    def term(self) -> int:
        """Which writer's blocks count, where a replaced one may still be alive on another node."""
        return self._reader[_TERM]

    @term.setter
    def term(self, term: int) -> None:
        self._reader[_TERM] = term

    @property
    def absent(self) -> bool:
        """Whether nobody writes it now: its reader need not wait for it."""
        return bool(self._reader[_ABSENT])

    @absent.setter
    def absent(self, absent: bool) -> None:
        self._reader[_ABSENT] = absent

    @property
    def failures(self) -> int:
        """Environments that the sampler had to replace."""
        return self._writer[_FAILURES]

    @failures.setter
    def failures(self, failures: int) -> None:
        self._writer[_FAILURES] = failures

    @property
    def heartbeat_s(self) -> float:
        """When the sampler was last seen alive (time.monotonic)."""
        return self._clocks[_HEARTBEAT]

    @heartbeat_s.setter
    def heartbeat_s(self, heartbeat_s: float) -> None:
        self._clocks[_HEARTBEAT] = heartbeat_s

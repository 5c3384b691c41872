"""What a stream is made for, and the place of everything that it keeps in memory."""

from dataclasses import dataclass, fields
from functools import cached_property

from covey.platform.runtime import control
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.layout import Field, Layout
from covey.platform.runtime.spaces import Spaces


@dataclass(frozen=True)
class StreamSpec:
    """Blocks of `steps` rows (T) by `columns` (B).

    With `overwrite` the ring holds the newest `blocks`, at least 3: two of them can be read, while
    the third is written. Without it the writer may be up to `blocks` ahead of the reader.
    `td_errors`: whether rows have them.
    """

    steps: int
    blocks: int
    columns: int
    spaces: Spaces
    overwrite: bool
    td_errors: bool = False

    def __post_init__(self) -> None:
        least = 3 if self.overwrite else 1
        if self.steps < 1 or self.columns < 1 or self.blocks < least:
            raise ValueError(f"a stream of {self}")

    @cached_property
    def slots(self) -> int:
        """Blocks in the ring. A block's last observation is the next one's first, so writing
        a block touches the one after it as well: that one must not be in use.
        """
        return self.blocks if self.overwrite else self.blocks + 1

    @cached_property
    def rows(self) -> int:
        """Rows in the ring."""
        return self.slots * self.steps

    @cached_property
    def layout(self) -> Layout:
        """Of everything that a stream keeps in memory."""
        # One observation, no row.
        row = Rows.allocate(0, self.columns, self.spaces, self.td_errors)
        arrays = [(f.name, getattr(row, f.name)) for f in fields(Rows)]
        # An episode takes at least one row of one column: the ring of episodes cannot overflow.
        ring, a_block = (self.rows * self.columns,), (self.slots,)
        return control.LAYOUT + Layout(
            (
                Field("returns", "f8", ring),
                Field("lengths", "i8", ring),
                Field("episodes_end", "i8", a_block),
                Field("version", "i8", a_block),
                Field("sample_s", "f8", a_block),
                Field("finished_s", "f8", a_block),
                *(Field(n, a.dtype.str, (self.rows + len(a), *a.shape[1:])) for n, a in arrays),
            )
        )

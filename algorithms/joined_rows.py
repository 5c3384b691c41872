"""The rows of several streams as those of one: a replay buffer takes its time over each of many."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.saved import StreamRows
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import Stream

SMALL_BYTES = 2**26
"""Streams that hold more than this stay as they are: to copy them takes too long."""


def archived(streams: Sequence[Stream], spaces: Spaces, most_rows: int) -> list[Stream]:
    """Streams that nobody writes any more, with the same rows: small ones are joined, and of those
    not more than so many rows are kept, the newest. Streams that are not in the result are closed.
    """
    small = [stream for stream in streams if held_bytes(stream) <= SMALL_BYTES]
    if len(small) < 2:
        return list(streams)
    joined = joined_rows(small, spaces, most_rows)
    for stream in small:
        stream.close()
    large = [stream for stream in streams if stream not in small]
    return large if joined is None else [*large, joined.archive(spaces, shared=True)]


def held_bytes(stream: Stream) -> int:
    """Of the rows that can be read."""
    whole: int = sum(getattr(stream.rows, f.name).nbytes for f in fields(Rows))
    return whole * (stream.rows_written - stream.oldest_row) // stream.rows.steps


def joined_rows(
    streams: Sequence[Stream], spaces: Spaces, most_rows: int = 2**62
) -> StreamRows | None:
    """Their environments one after another in time, each followed by a row that is no transition;
    None if they hold nothing. Of each stream the observation after its last row is the one that
    this row shows.
    """
    parts = [part for stream in streams if (part := in_one_column(stream, spaces.agents))]
    if not parts:
        return None
    names = [f.name for f in fields(Rows)]
    arrays = {name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
    first = max(0, len(arrays["rewards"]) - most_rows)
    kept = {name: array[first:] for name, array in arrays.items()}
    # Every row's outcome is the row after it: so one observation follows the last.
    seen = kept["observations"]
    rows = Rows(**kept | {"observations": np.concatenate([seen, seen[-1:]])})
    return StreamRows(steps=1, written=rows.steps, oldest_row=0, rows=rows)


def in_one_column(stream: Stream, agents: int) -> Rows | None:
    """What can be read of a stream, environment after environment: [N, agents, ...] each, N = E *
    (T + 1) for T rows of E environments. None if that is nothing.
    """
    low, high, ring = stream.oldest_row, stream.rows_written, stream.rows.steps
    if high <= low:
        return None
    taken = np.arange(low, high) % ring

    def lay(array: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
        """[T, E * agents, ...] and one row more, as [E * (T + 1), agents, ...]."""
        whole = np.concatenate([array[taken], after[None]])
        apart = whole.reshape(len(whole), -1, agents, *whole.shape[2:])
        turned = apart.swapaxes(0, 1)
        return np.ascontiguousarray(turned).reshape(-1, agents, *whole.shape[2:])

    laid = {}
    for f in fields(Rows):
        array = getattr(stream.rows, f.name)
        is_seen = f.name == "observations"
        after = array[taken[-1] + 1] if is_seen else np.zeros_like(array[0])
        laid[f.name] = lay(array, after)
    return Rows(**laid)

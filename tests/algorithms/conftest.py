"""Streams for the tests of what learns from a replay buffer."""

from types import SimpleNamespace

import numpy as np
import pytest

from covey.platform.runtime.fragment import Episodes
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

SEEN, ACTING = 3, 2
CONTINUOUS = Spaces(
    ObservationSpec("numeric", (SEEN,), "float32"),
    ActionSpec("continuous", (ACTING,), "float32", low=(-2.0, -1.0), high=(2.0, 3.0)),
)
DISCRETE = Spaces(
    ObservationSpec("numeric", (SEEN,), "float32"), ActionSpec("discrete", (), "int64", choices=4)
)
NONE = Episodes(np.empty(0), np.empty(0, dtype=np.int64))


def make_stream(blocks: int, steps: int, columns: int, spaces: Spaces = CONTINUOUS) -> Stream:
    return Stream.create(StreamSpec(steps, blocks, columns, spaces, overwrite=True), shared=False)


def write(stream: Stream, blocks: int, generator: np.random.Generator) -> None:
    """Random rows: some episodes end, and each end is followed by a row that is no transition."""
    stream.permit(2**40)
    for _ in range(blocks):
        rows = stream.begin()
        assert rows is not None
        first = stream.rows_written
        ended = np.zeros(rows.rewards.shape[1], dtype=bool)
        if first:
            before = (first - 1) % len(stream.rows.rewards)
            ended = stream.rows.terminated[before] | stream.rows.truncated[before]
        for t in range(rows.steps):
            rows.valid[t] = ~ended
            rows.terminated[t] = ~ended & (generator.random(len(ended)) < 0.1)
            rows.truncated[t] = ~ended & (generator.random(len(ended)) < 0.1)
            ended = rows.terminated[t] | rows.truncated[t]
        rows.rewards[:] = generator.normal(size=rows.rewards.shape) * rows.valid
        shape = rows.observations[1:].shape
        if stream.fresh:
            rows.observations[0] = generator.normal(size=shape[1:])
        rows.observations[1:] = generator.normal(size=shape)
        drawn = generator.uniform(-1, 1, rows.actions.shape)
        rows.actions[:] = drawn if rows.actions.dtype.kind == "f" else (drawn + 1) * 2
        stream.commit(NONE, 0, 0.0)


@pytest.fixture
def rings():
    """Makes streams, and fills them with transitions that can be told from each other."""
    return SimpleNamespace(make_stream=make_stream, write=write)


@pytest.fixture(params=[CONTINUOUS, DISCRETE], ids=["continuous", "discrete"])
def spaces(request):
    """3 numbers seen; 2 numbers, or one of 4 actions, taken."""
    return request.param

"""The sampler's side of channels, rows that tell where they belong, and patience."""

import os
import time
from dataclasses import fields

import numpy as np

from covey.platform.errors import UserError
from covey.platform.runtime.fragment import Episodes, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import StreamSpec

SPACES = Spaces(
    ObservationSpec("numeric", (2,), "float32"), ActionSpec("discrete", (), "int64", choices=9)
)
T, B = 4, 3
WEIGHTS = {"w": np.zeros((20, 3), np.float32), "b": np.zeros(3, np.float32)}


def spec(blocks, overwrite=False):
    """Of a replay stream, whose rows come with errors, or of one that waits for its reader."""
    return StreamSpec(T, blocks, B, SPACES, overwrite, td_errors=overwrite)


def row(number):
    """What an observation in that absolute row looks like [B, 2]."""
    return np.float32(number) + np.arange(B * 2, dtype=np.float32).reshape(B, 2) / 8


def fill(rows, first):
    """Rows from an absolute one on; the first observation is there, or is written if that is the
    first of all.
    """
    if first == 0:
        rows.observations[0] = row(0)
    np.testing.assert_array_equal(rows.observations[0], row(first))
    for t in range(rows.steps):
        rows.observations[t + 1] = row(first + t + 1)
        for array in (rows.actions, rows.logp, rows.rewards, rows.td_errors):
            array[t] = first + t
        rows.terminated[t] = (first + t) % 3 == 0
        rows.truncated[t] = (first + t) % 5 == 0
        rows.valid[t] = (first + t) % 7 != 0


def check_rows(rows, first):
    """That rows are as `fill` makes them."""
    expected = Rows.allocate(rows.steps, B, SPACES, td_errors=rows.td_errors.size > 0)
    expected.observations[0] = row(first)
    fill(expected, first)
    for f in fields(Rows):
        np.testing.assert_array_equal(getattr(rows, f.name), getattr(expected, f.name))


def ended(count, block):
    return Episodes(np.arange(count) + 0.5 + block, np.arange(count) + 100 * block)


class SamplerSide:
    """What the tests have a sampler do."""

    def connect(self, stream, weights=None):
        self.stream = stream.attach()
        self.weights = weights.attach() if weights else None

    def connect_far(self, handle):
        self.stream = self.weights = handle.attach()

    def write(self, block, episodes=0):
        """False if there is no room."""
        rows = self.stream.begin()
        if rows is None:
            return False
        assert self.stream.fresh == (block == 0)
        fill(rows, block * T)
        self.stream.commit(ended(episodes, block), version=block, sample_s=block + 0.5)
        return True

    def write_half(self, block):
        rows = self.stream.begin()
        rows.rewards[: T // 2] = -1.0
        rows.observations[1:T] = -1.0

    def work(self):
        """Set the vitals; the heartbeat's time, which is long ago."""
        self.stream.heartbeat_s = seen_s = time.monotonic() - 1000.0
        self.stream.failures = 2**40
        return seen_s

    def stopped(self):
        return self.stream.stop

    @staticmethod
    def fail():
        raise UserError("lamp broken")

    def newest(self):
        return self.weights.newest

    def read(self, newer_than):
        weights = self.weights.read(newer_than)
        if weights is None:
            return None
        for array in weights.arrays.values():
            array += 1  # its own copies
        return weights.version, {n: a.copy() for n, a in weights.arrays.items()}


def eventually(ask, *arguments):
    """Its answer, once that is true."""
    deadline_s = time.monotonic() + 120
    while not (answer := ask(*arguments)):
        assert time.monotonic() < deadline_s
        os.sched_yield()
    return answer


def wait_for(stream, blocks):
    """Have them arrive."""
    eventually(lambda: stream.blocks_written == blocks)


def check_ring(stream):
    """That all rows which can be read are right."""
    number, end, size = stream.oldest_row, stream.rows_written, stream.rows.steps
    while number < end:
        count = min(end - number, size - number % size)  # up to where the ring begins anew
        check_rows(stream.rows.part(number % size, count), number)
        number += count

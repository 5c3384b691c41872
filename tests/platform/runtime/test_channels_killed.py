"""Processes that share channels race, and die at any moment: nothing torn, nothing left behind."""

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from covey.platform.runtime.fragment import Episodes
from covey.platform.runtime.segment import Segment, SegmentGone
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec
from covey.platform.runtime.weights_channel import SharedWeights

SPACES = Spaces(
    ObservationSpec("numeric", (40,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)
T, B = 16, 8
NO_EPISODES = Episodes(np.empty(0), np.empty(0, dtype=np.int64))
RACE_S = 2.0
"""A race lasts at least so long, and until enough was seen."""
LIMIT_S = 120.0
"""Only ends a test that has failed."""


class Child:
    """A process of `channel_child.py`."""

    def __init__(self, *arguments):
        command = [sys.executable, str(Path(__file__).with_name("channel_child.py")), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def line(self):
        return self.process.stdout.readline().decode().strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start():
    """Start a child: its task, and what to send it first."""
    children = []

    def start(*arguments, handle=None):
        child = Child(*arguments)
        children.append(child)
        if handle is not None:
            child.send(pickle.dumps(handle))
        return child

    yield start
    for child in children:
        child.close()


def in_use(name):
    """Mappings and open files of all processes that are segments of that name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [m for m in (process / "maps").read_text().splitlines() if name in m]
            found += [f for f in (process / "fd").iterdir() if name in str(f.readlink())]
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def test_holder_killed(start):
    name = f"test-{time.monotonic_ns()}"
    holder = start("hold", name)
    handle = pickle.loads(bytes.fromhex(holder.line()))
    segment = Segment.attach(handle)
    holder.kill()
    assert segment.buffer[0] == 42
    with pytest.raises(SegmentGone, match=f"process {handle.pid} no longer holds"):
        Segment.attach(handle)
    assert in_use(name)
    segment.close()
    assert not in_use(name)
    assert not list(Path("/dev/shm").glob("*covey*"))


def test_nothing_is_left_of_killed_users(start):
    name = f"test-{time.monotonic_ns()}"
    holder = start("hold", name)
    holder.line()
    assert in_use(name)
    holder.kill()
    assert not in_use(name)


def test_writer_killed_in_a_block(start):
    stream = Stream.create(StreamSpec(T, 2, B, SPACES, False), shared=True)
    write_block(stream, 0)
    writer = start("half", handle=stream.handle)
    assert writer.line() == "half"
    writer.kill()
    assert stream.blocks_written == 1
    check_block(stream.take(), 0)
    assert stream.take() is None
    write_block(stream, 1)
    check_block(stream.take(), 1)


def write_block(stream, block):
    """Write one as `channel_child.fill` does."""
    rows = stream.begin()
    numbers = np.arange(block * T, block * T + T)
    rows.rewards[...] = rows.actions[...] = rows.logp[...] = numbers[:, None]
    rows.observations[1:] = numbers[:, None, None] + 1
    stream.commit(NO_EPISODES, block, 0.0)


def check_block(fragment, block):
    rows, numbers = fragment.rows, np.arange(block * T, block * T + T)
    assert fragment.version == block
    for array in (rows.actions, rows.logp, rows.rewards):
        assert (array == numbers[:, None]).all()
    assert (rows.observations[:-1] == numbers[:, None, None]).all()
    assert (rows.observations[-1] == numbers[-1] + 1).all()


def test_no_block_is_torn_or_lost_while_writers_are_killed(start):
    stream = Stream.create(StreamSpec(T, 3, B, SPACES, False), shared=True)
    writers = start("write", handle=stream.handle)
    generator = np.random.default_rng(3)
    block = 0
    for _ in range(12):
        kill_at_s = time.monotonic() + generator.uniform(0.02, 0.15)
        writers.send(b"\n")
        victim = int(writers.line())
        first = block
        while time.monotonic() < kill_at_s or block == first:
            fragment = stream.take()
            if fragment is not None:
                check_block(fragment, block)
                stream.release()
                block += 1
        os.kill(victim, signal.SIGKILL)
        assert writers.line() == "ended"
    assert block > 100


def test_rows_of_a_replay_stream_are_whole(start):
    """As a replay buffer reads them: any rows, checked for age after they were copied."""
    stream = Stream.create(StreamSpec(T, 5, B, SPACES, True), shared=True)
    writers = start("write", handle=stream.handle)
    writers.send(b"\n")
    victim = int(writers.line())
    generator = np.random.default_rng(5)
    whole = old = taken = 0
    began_s = time.monotonic()
    while (
        time.monotonic() < began_s + RACE_S
        or whole <= 1000
        or old == 0  # else it was no race
        or stream.blocks_lost == 0
    ):
        assert time.monotonic() < began_s + LIMIT_S
        written = stream.rows_written  # before they are copied: a later row may come too late
        # The oldest ones are those that the writer is about to overwrite.
        wanted = stream.oldest_row + generator.integers(0, 8, size=8)
        places = wanted % stream.rows.steps
        before, after = stream.rows.observations[places], stream.rows.observations[places + 1]
        rewards = stream.rows.rewards[places]
        late = wanted < stream.oldest_row
        good = ~late & (wanted < written)
        whole, old = whole + good.sum(), old + late.sum()
        for array, value in ((before, wanted), (after, wanted + 1)):
            assert (array[good] == value[good, None, None]).all()
        assert (rewards[good] == wanted[good, None]).all()
        fragment = stream.take()
        if fragment is not None:
            assert fragment.version >= taken
            taken = fragment.version + 1
    os.kill(victim, signal.SIGKILL)
    assert writers.line() == "ended"
    assert stream.blocks_taken == taken


def weights_of(value):
    return {f"layer {i}": np.full((50, 200), value, np.float32) for i in range(3)}


def test_no_weights_are_torn(start):
    weights = SharedWeights.create(weights_of(0))
    readers = [start("read", handle=weights.handle) for _ in range(2)]
    for reader in readers:
        assert reader.line() == "ready"
    arrays = weights_of(0)
    began_s = time.monotonic()
    version = -1
    outputs = [reader.process.stdout for reader in readers]
    while (
        time.monotonic() < began_s + RACE_S
        or len(select.select(outputs, [], [], 0)[0]) < len(readers)  # they have not seen enough
    ):
        assert time.monotonic() < began_s + LIMIT_S
        for array in arrays.values():
            array[...] = version + 1
        assert weights.publish(arrays) == version + 1
        version += 1
    for reader in readers:
        assert reader.line() == "seen 100"
        reader.process.stdin.close()
        torn, last = map(int, reader.line().split())
        assert torn == 0
        assert last <= version
        assert reader.process.wait() == 0


def test_writer_killed_while_it_publishes(start):
    weights = SharedWeights.create(weights_of(0))
    weights.publish(weights_of(10))
    weights.publish(weights_of(11))
    writer = start("publish", handle=weights.handle)
    assert writer.line() == "half"
    check_weights(weights.read(), 1, 11)
    writer.kill()
    check_weights(weights.read(), 1, 11)
    successor = SharedWeights.attach(weights.handle)
    assert successor.publish(weights_of(12)) == 2
    check_weights(weights.read(), 2, 12)
    assert successor.publish(weights_of(13)) == 3
    check_weights(weights.read(newer_than=2), 3, 13)


def check_weights(weights, version, value):
    assert weights.version == version
    assert all((array == value).all() for array in weights.arrays.values())

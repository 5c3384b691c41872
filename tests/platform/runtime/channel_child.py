"""Processes that race with the tests, or are killed by them. A pickled handle comes on standard
input; answers go to standard output, a line each.

`hold`: makes a segment and sends its handle back.
`write`: for each line of input, a forked process writes blocks until it is killed.
`half`: begins a block and then waits.
`read`: reads weights until the input ends; tells when it has seen 100, and then how many were torn.
`publish`: publishes weights half-way and then waits.
"""

import os
import pickle
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from covey.platform.runtime.fragment import Episodes, Rows
from covey.platform.runtime.segment import Segment
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

NO_EPISODES = Episodes(np.empty(0), np.empty(0, dtype=np.int64))


def say(*words: object) -> None:
    print(*words, flush=True)


def fill(rows: Rows, first: int) -> None:
    """Every array of row r holds r, in all of its elements; all but the first observation."""
    numbers = np.arange(first, first + rows.steps)
    for array in (rows.actions, rows.logp, rows.rewards):
        array[...] = numbers[:, None]
    rows.observations[1:] = numbers[:, None, None] + 1
    rows.valid[...] = True


def hold() -> None:
    segment = Segment.create(sys.argv[2], 4096)
    segment.buffer[0] = 42
    say(pickle.dumps(segment.handle).hex())
    sys.stdin.readline()


def write() -> None:
    handle = pickle.load(sys.stdin.buffer)
    while sys.stdin.buffer.readline():
        child = os.fork()
        if child == 0:
            write_blocks(handle.attach())
            os._exit(0)
        say(child)
        os.waitpid(child, 0)
        say("ended")


def write_blocks(stream: Stream) -> None:
    steps, parent = stream.spec.steps, os.getppid()
    while os.getppid() == parent:  # a test that fails kills only that one
        rows = stream.begin()
        if rows is not None:
            fill(rows, stream.blocks_written * steps)
            stream.commit(NO_EPISODES, stream.blocks_written, 0.0)
        else:
            os.sched_yield()


def half() -> None:
    stream = pickle.load(sys.stdin.buffer).attach()
    rows = stream.begin()
    rows.rewards[...] = rows.observations[1:] = -1.0
    say("half")
    sys.stdin.readline()


def read() -> None:
    weights: SharedWeights = pickle.load(sys.stdin.buffer).attach()
    os.set_blocking(0, False)
    say("ready")
    seen, torn, last = 0, 0, -1
    while sys.stdin.buffer.read(1) is None:  # until it is closed
        found = weights.read(last)
        if found is not None:
            whole = all((array == found.version).all() for array in found.arrays.values())
            torn += not whole or found.version <= last
            last = found.version
            seen += 1
            if seen == 100:
                say("seen 100")
    say(torn, last)


class HalfWay(Mapping[str, "np.ndarray"]):
    """Arrays, the last of which never comes when it is asked for a second time, to be copied."""

    def __init__(self, arrays: dict[str, "np.ndarray"]) -> None:
        self.arrays, self.asked = arrays, 0

    def __getitem__(self, name: str) -> "np.ndarray":
        if name == list(self.arrays)[-1]:
            self.asked += 1
            if self.asked == 2:
                say("half")
                sys.stdin.readline()
        return self.arrays[name]

    def __len__(self) -> int:
        return len(self.arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)


def publish() -> None:
    weights: SharedWeights = pickle.load(sys.stdin.buffer).attach()
    found = weights.read()
    assert found is not None
    weights.publish(HalfWay({n: np.full_like(a, -1) for n, a in found.arrays.items()}))


if __name__ == "__main__":
    globals()[sys.argv[1]]()

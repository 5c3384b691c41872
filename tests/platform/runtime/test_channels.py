"""One contract for channels, over shared memory between two processes, over private memory, and
over a relay (inline, and on Ray).
"""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from channel_side import (
    WEIGHTS,
    SamplerSide,
    T,
    check_ring,
    check_rows,
    ended,
    eventually,
    spec,
    wait_for,
)

from covey.platform.errors import UserError
from covey.platform.runtime import far_end
from covey.platform.runtime.crew import InlineCrew, WorkerLost
from covey.platform.runtime.far_end import FarEnd
from covey.platform.runtime.relay import Relay
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights


class Inside:
    """Both sides in this process, in plain memory."""

    side = SamplerSide()

    def call(self, method, *arguments):
        return getattr(self.side, method)(*arguments)

    def stream(self, spec):
        return Stream.create(spec, shared=False)

    def weights(self):
        return SharedWeights.create(WEIGHTS, shared=False)

    def connect(self, stream, weights=None):
        self.call("connect", stream.handle, weights and weights.handle)

    def close(self):
        pass


class TwoProcesses:
    """The sampler's side in a process of its own, in shared memory."""

    def __init__(self):
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        script = "import test_channels; test_channels.serve()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", script], env=here, **pipes)

    def call(self, method, *arguments):
        pickle.dump((method, arguments), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def stream(self, spec):
        return Stream.create(spec, shared=True)

    def weights(self):
        return SharedWeights.create(WEIGHTS)

    def connect(self, stream, weights=None):
        self.call("connect", stream.handle, weights and weights.handle)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()


def serve():
    """Answer the calls of `TwoProcesses`."""
    side = SamplerSide()
    while sys.stdin.buffer.peek(1):
        method, arguments = pickle.load(sys.stdin.buffer)
        pickle.dump(getattr(side, method)(*arguments), sys.stdout.buffer)
        sys.stdout.buffer.flush()


class FarHandle:
    """Opens the sampler's end of a stream over a relay."""

    def __init__(self, spec, relay, results, term=0):
        self.spec, self.relay, self.results, self.term = spec, relay, results, term

    def attach(self):
        return FarEnd(self.spec, 0, self.term, self.relay, self.results)


class Distant:
    """The sampler's side as a worker, and a relay between the two."""

    def __init__(self, crew, results, share):
        self.crew, self.results, self.share = crew, results, share
        self.side = crew.spawn("sampler 0", SamplerSide)
        self.shared = not isinstance(crew, InlineCrew)
        self.relays = []

    def call(self, method, *arguments):
        return self.crew.fetch([self.side.submit(method, *arguments)])[0]

    def stream(self, spec):
        return Stream.create(spec, self.shared)

    def weights(self):
        return SharedWeights.create(WEIGHTS, self.shared)

    def far(self, stream, weights=None):
        """Over a relay of its own."""
        if weights is None:
            weights = self.weights()
            weights.publish(WEIGHTS)  # without any it does not write
        relay = self.crew.spawn("relay", Relay, [stream.handle], weights.handle, self.share)
        self.relays.append((relay, weights))
        return FarHandle(stream.spec, relay, self.results, stream.term)

    def connect(self, stream, weights=None):
        self.call("connect_far", self.far(stream, weights))

    def close(self):
        self.crew.close()


def check_order(place):
    stream = place.stream(spec(2))
    place.connect(stream)
    assert stream.take() is None
    written = 0
    for taken in range(9):  # four laps
        while written < taken + 2:
            eventually(place.call, "write", written, written % 3)
            written += 1
        assert not place.call("write", written)
        fragment = eventually(stream.take)
        check_rows(fragment.rows, taken * T)
        assert (fragment.version, fragment.sample_s) == (taken, taken + 0.5)
        assert 0 <= time.monotonic() + 0.1 - fragment.finished_s < 60
        expected = ended(taken % 3, taken)
        np.testing.assert_array_equal(fragment.episodes.returns, expected.returns)
        np.testing.assert_array_equal(fragment.episodes.lengths, expected.lengths)
        assert not place.call("write", written)  # taken is not released
        check_rows(fragment.rows, taken * T)
        assert stream.blocks_taken == taken + 1
        stream.release()
    assert stream.blocks_lost == 0
    assert eventually(lambda: stream.rows_written == written * T)


def check_several_at_once(place):
    stream = place.stream(spec(3))
    place.connect(stream)
    for lap in range(3):
        for block in range(3 * lap, 3 * lap + 3):
            eventually(place.call, "write", block)
        taken = [eventually(stream.take) for _ in range(3)]
        assert stream.take() is None
        for block, fragment in enumerate(taken, 3 * lap):
            check_rows(fragment.rows, block * T)
        stream.release()


def check_permission(place):
    stream = place.stream(spec(5))
    assert stream.permitted > 10**18
    stream.permit(0)
    place.connect(stream)
    for block in range(4):
        assert not place.call("write", block)
        stream.permit(block + 1)
        assert stream.permitted == block + 1
        eventually(place.call, "write", block)
    assert not place.call("write", 4)


def check_vitals(place):
    stream = place.stream(spec(2))
    place.connect(stream)
    assert stream.failures == 0
    heartbeat_s, asked_s = place.call("work"), time.monotonic()
    place.call("write", 0)
    wait_for(stream, 1)
    assert stream.failures == 2**40
    # It is told as seconds since, to which its way is added.
    assert -1e-6 < stream.heartbeat_s - heartbeat_s < 1e-6 + time.monotonic() - asked_s
    assert not stream.stop
    assert not place.call("stopped")
    stream.stop = True
    assert stream.stop
    eventually(place.call, "stopped")
    stream.stop = False
    eventually(lambda: not place.call("stopped"))


def check_replay(place):
    stream = place.stream(spec(4, overwrite=True))
    place.connect(stream)
    for block in range(11):
        eventually(place.call, "write", block)
        wait_for(stream, block + 1)
        assert stream.rows_written == (block + 1) * T
        # While block 4 is written, block 0 and the first observation of block 1 go.
        assert stream.oldest_row == (0 if block < 3 else (block - 2) * T + 1)
        check_ring(stream)
    assert [stream.version[block % 4] for block in range(7, 11)] == [7, 8, 9, 10]
    assert (np.diff(stream.finished_s[[7 % 4, 8 % 4, 9 % 4, 10 % 4]]) >= 0).all()
    fragments = [stream.take(), stream.take(), stream.take()]
    assert [f and f.version for f in fragments] == [9, 10, None]
    assert (stream.blocks_taken, stream.blocks_lost) == (11, 9)


def check_load(place):
    for blocks in (2, 3, 7):
        stream = place.stream(spec(3, overwrite=True))
        place.connect(stream)
        for block in range(blocks):
            eventually(place.call, "write", block)
            wait_for(stream, block + 1)
        rows = stream.rows.part(0, min(blocks, 3) * T)
        later = place.stream(spec(3, overwrite=True))
        later.load(rows, blocks * T, oldest_row=3)
        assert later.oldest_row == max(3, stream.oldest_row)
        assert later.rows_written == blocks * T
        assert later.take() is None
        place.connect(later)
        for block in range(blocks, blocks + 4):
            check_ring(later)
            eventually(place.call, "write", block, 1)
            fragment = eventually(later.take)
            check_rows(fragment.rows, block * T)
            assert fragment.episodes.returns.tolist() == [block + 0.5]
        with pytest.raises(ValueError, match="rows of"):
            later.load(rows, blocks * T + 1)


def check_successors(place):
    """A new writer and a new reader go on where the earlier ones were."""
    stream = place.stream(spec(3))
    place.connect(stream)
    for block in range(2):
        eventually(place.call, "write", block)
    wait_for(stream, 2)
    place.call("write_half", 2)
    place.connect(stream)
    check_rows(eventually(stream.take).rows, 0)
    stream.release()
    check_rows(eventually(stream.take).rows, T)  # not released: comes again
    other = type(stream).attach(stream.handle)
    check_rows(eventually(other.take).rows, T)
    assert other.take() is None
    other.release()
    for block in range(2, 9):
        eventually(place.call, "write", block)
        check_rows(eventually(other.take).rows, block * T)
        other.release()


def check_weights(place):
    stream, weights = place.stream(spec(1)), place.weights()
    place.connect(stream, weights)
    assert place.call("newest") == weights.newest == -1
    assert place.call("read", -1) is None
    for version in range(5):
        arrays = {"b": np.full(3, version, np.float32), "w": np.full((20, 3), -version, "f4")}
        assert weights.publish(arrays) == version
        arrays["w"][...] = np.nan  # the writer's arrays are its own
        for _ in range(2):
            got, read = eventually(place.call, "read", version - 1)
            assert got == version
            np.testing.assert_array_equal(read["w"], np.full((20, 3), 1 - version))
            np.testing.assert_array_equal(read["b"], np.full(3, 1 + version))
        assert place.call("read", version) is None
        eventually(lambda version=version: place.call("newest") == weights.newest == version)
    for wrong in (
        {"w": WEIGHTS["w"]},
        {**WEIGHTS, "c": WEIGHTS["b"]},
        {"w": WEIGHTS["w"], "c": WEIGHTS["b"]},
        {**WEIGHTS, "b": np.zeros((1, 3), np.float32)},
        {**WEIGHTS, "b": np.zeros(3)},
    ):
        with pytest.raises(ValueError, match=r"for a channel of|b is float"):
            weights.publish(wrong)
    assert weights.newest == 4


CONTRACT = [
    check_order,
    check_several_at_once,
    check_permission,
    check_vitals,
    check_replay,
    check_load,
    check_successors,
    check_weights,
]


def inline_relay():
    crew = InlineCrew()
    return Distant(crew, crew, crew.share)


@pytest.fixture(autouse=True)
def nobody_waits_inline(monkeypatch):
    """A call in this process for news that only this process can make would wait in vain."""
    monkeypatch.setattr(far_end, "POLL_S", 0.0)


@pytest.fixture(scope="module", params=[TwoProcesses, Inside, inline_relay])
def place(request):
    place = request.param()
    yield place
    place.close()


@pytest.mark.parametrize("check", CONTRACT)
def test_contract(check, place):
    check(place)


@pytest.mark.ray
def test_contract_on_ray(tmp_path):
    # In a process of its own: Ray leaves files open, which here would be errors.
    environment = {
        **os.environ,
        "COVEY_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    script = "import test_channels; test_channels.contract_on_ray()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def contract_on_ray():
    from covey.platform.jobfile.model import Resources
    from covey.platform.runtime import actors
    from covey.platform.runtime.ray_results import RayResults, share

    place = Distant(actors.RayCrew(Resources(cpus=2), samplers=1), RayResults(), share)
    for check in CONTRACT:
        check(place)
    with pytest.raises(UserError, match="lamp broken"):
        place.results.fetch([place.side.submit("fail")])
    check_relay_killed(place)
    place.close()


def check_relay_killed(place):
    """Who sent over it hears of it; whoever comes next finds the next one."""
    stream = place.stream(spec(3))
    place.connect(stream)
    eventually(place.call, "write", 0)
    wait_for(stream, 1)
    os.kill(place.crew.pids()["relay"], 9)
    with pytest.raises(WorkerLost):
        while True:
            place.call("stopped")
    handle = FarHandle(stream.spec, place.relays[-1][0], place.results)
    eventually(again, place, handle)
    eventually(place.call, "write", 1)
    wait_for(stream, 2)


def again(place, handle):
    try:
        place.call("connect_far", handle)
    except WorkerLost:  # it is just being started
        return False
    return True

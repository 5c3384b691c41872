"""Short messages through a pipe whose reader may be slow, or hang."""

import fcntl

import pytest

from covey.platform.runtime.pipe import Pipe


@pytest.fixture
def pipe():
    made = Pipe.create("<qd")
    fcntl.fcntl(made._fd, fcntl.F_SETPIPE_SZ, 4096)
    yield made
    made.close()


def received(pipe):
    found = []
    while (message := pipe.receive(0.0)) is not None:
        found.append(message)
    return found


def test_messages_come_whole_and_in_order_through_any_end(pipe):
    other = pipe.handle.attach()
    for number in range(20):
        pipe.send(number, number / 2)
    assert received(other) == [(number, number / 2) for number in range(20)]
    assert other.receive(0.0) is None and not pipe.waits(0.0)
    other.close()


def test_a_push_never_waits_and_the_newest_messages_are_kept(pipe):
    for number in range(1000):
        pipe.push(number, 0.0)
    numbers = [number for number, _ in received(pipe)]
    assert numbers == list(range(numbers[0], 1000)) and len(numbers) > 10

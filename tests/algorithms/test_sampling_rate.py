"""Rates from the times at which blocks were finished, on streams filled by a clock of ours."""

import pytest

from covey.algorithms.sampling_rate import SamplingRate, all_begun
from covey.platform.runtime.fragment import Episodes

NONE = Episodes([], [])
STEPS, COLUMNS = 4, 2


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def fill(streams, clock, every_s, until_s):
    """Each stream gets a block every so many seconds; `look` is called after each."""
    due = list(every_s)
    while min(due) <= until_s:
        index = due.index(min(due))
        clock.now_s = 100.0 + due[index]
        assert streams[index].begin() is not None
        streams[index].commit(NONE, 0, 0.0, finished_s=clock.now_s)
        due[index] += every_s[index]
        yield


def test_a_rate_is_that_of_whole_blocks(rings):
    clock, streams = Clock(), [rings.make_stream(9, STEPS, COLUMNS) for _ in range(2)]
    steady = fill(streams, clock, (0.5, 0.8), 99.0)
    while not all_begun(streams):
        next(steady)
    clock.now_s += 0.3  # in the middle of a block
    rate = SamplingRate(streams, 2.0, clock)
    while not rate.look():
        next(steady)
    assert clock.now_s - rate.began_s < 3.5
    rate_hz, noise = rate.read()
    assert rate_hz == pytest.approx(STEPS * COLUMNS * (1 / 0.5 + 1 / 0.8))
    assert noise < 0.01


def test_slow_blocks_are_waited_for(rings):
    clock, streams = Clock(), [rings.make_stream(9, STEPS, COLUMNS)]
    steady = fill(streams, clock, (6.0,), 99.0)
    rate = SamplingRate(streams, 1.0, clock)
    clock.now_s += 5.5
    assert not rate.look(), "nothing has come at all"
    next(steady)
    assert rate.look()
    assert rate.read() == (pytest.approx(STEPS * COLUMNS / 6.0), 0.0)


def test_a_rate_that_sways_is_uncertain(rings):
    clock, streams = Clock(), [rings.make_stream(9, STEPS, COLUMNS)]
    rate = SamplingRate(streams, 4.0, clock)
    for every_s in (0.1, 0.2, 0.1, 0.2):
        begin_s = clock.now_s
        while clock.now_s < begin_s + 1.0:
            clock.now_s += every_s
            streams[0].begin()
            streams[0].commit(NONE, 0, 0.0, finished_s=clock.now_s)
            rate.look()
    assert rate.read()[1] > 0.1

"""Streams by themselves: over a relay whose writers come and go, and the ring against a list."""

from dataclasses import fields

import numpy as np
import pytest
from channel_side import (
    SPACES,
    WEIGHTS,
    B,
    SamplerSide,
    T,
    check_ring,
    check_rows,
    ended,
    eventually,
    fill,
    spec,
)

from covey.platform.runtime import far_end
from covey.platform.runtime.crew import InlineCrew
from covey.platform.runtime.far_end import IN_FLIGHT, FarEnd
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.relay import Relay
from covey.platform.runtime.stream import Stream, StreamSpec
from covey.platform.runtime.weights_channel import SharedWeights


@pytest.fixture(autouse=True)
def nobody_waits_inline(monkeypatch):
    """A call in this process for news that only this process can make would wait in vain."""
    monkeypatch.setattr(far_end, "POLL_S", 0.0)


def far_side(crew, stream):
    """Of one that reaches it over a relay."""
    weights = SharedWeights.create(WEIGHTS, shared=False)
    weights.publish(WEIGHTS)
    relay = crew.spawn("relay", Relay, [stream.handle], weights.handle, crew.share)
    side = SamplerSide()
    side.stream = FarEnd(stream.spec, 0, stream.term, relay, crew)
    return side


def test_a_writer_that_was_replaced_is_not_heard_and_is_to_end():
    stream, crew = Stream.create(spec(3), shared=False), InlineCrew()
    old = far_side(crew, stream)
    stream.term = 1
    new = far_side(crew, stream)
    assert old.write(0)
    assert stream.blocks_written == 0
    assert new.write(0, episodes=2)
    assert len(stream.take().episodes.returns) == 2
    assert stream.blocks_written == 1
    eventually(old.stopped)
    assert not new.stopped()


def test_a_block_arrives_whose_leave_was_withdrawn_while_it_was_written():
    stream = Stream.create(spec(3), shared=False)
    side = far_side(InlineCrew(), stream)
    rows = side.stream.begin()
    fill(rows, 0)
    stream.permit(0)
    side.stream.commit(ended(0, 0), 0, 0.0)
    assert not side.stopped() and stream.blocks_written == 1
    check_rows(stream.take().rows, 0)
    eventually(lambda: not side.write(1))
    assert stream.blocks_written == 1


class BusyCrew(InlineCrew):
    """One whose results take their time."""

    def is_ready(self, pending):
        return False


def test_few_blocks_are_on_their_way_at_once():
    side = far_side(BusyCrew(), Stream.create(spec(100), shared=False))
    blocks = 0
    while side.write(blocks):
        blocks += 1
    assert 0 < blocks <= IN_FLIGHT


@pytest.mark.parametrize("overwrite", [False, True])
def test_any_order_of_calls(overwrite):
    # Against a list of what was written, in rings of all small sizes.
    generator = np.random.default_rng(7)
    for blocks in range(3 if overwrite else 1, 7):
        stream = Stream.create(spec(blocks, overwrite), shared=False)
        written, taken, held = 0, 0, []
        for choice in generator.integers(4, size=120):
            if choice < 2:
                room = overwrite or written - (taken - len(held)) < blocks
                rows = stream.begin()
                assert (rows is not None) == room
                if rows is not None:
                    spoil(rows)
                    check_held(stream, held)
                    fill(rows, written * T)
                    stream.commit(ended(int(choice) * 5, written), written, 0.0)
                    written += 1
            elif choice == 2:
                fragment = stream.take()
                expected = max(taken, written - blocks + 2) if overwrite else taken
                assert (fragment is not None) == (written > taken)
                if fragment is not None:
                    assert fragment.version == expected
                    assert len(fragment.episodes.returns) in (0, 5)
                    assert (fragment.episodes.returns >= expected).all()
                    check_rows(fragment.rows, expected * T)
                    taken = expected + 1
                    held.append(fragment)
            else:
                stream.release()
                held = []
            check_held(stream, held)


def spoil(rows):
    """Write all that a writer may write."""
    for array in (rows.observations[1:], *(getattr(rows, f.name) for f in fields(Rows)[1:])):
        array[...] = 1


def check_held(stream, held):
    """That everything that may be read is right."""
    if stream.spec.overwrite:
        check_ring(stream)
    else:
        for fragment in held:
            check_rows(fragment.rows, fragment.version * T)


def test_a_block_may_be_full_of_episodes():
    # Two alternating rows an episode is the most that an environment can end.
    stream = Stream.create(spec(1), shared=False)
    for block in range(20):
        rows = stream.begin()
        fill(rows, block * T)
        stream.commit(ended(T * B, block), block, 0.0)
        fragment = stream.take()
        np.testing.assert_array_equal(fragment.episodes.lengths, ended(T * B, block).lengths)
        stream.release()


@pytest.mark.parametrize(
    "wrong", [(0, 3, 1, True), (1, 2, 1, True), (1, 0, 1, False), (1, 1, 0, False)]
)
def test_streams_that_make_no_sense(wrong):
    steps, blocks, columns, overwrite = wrong
    with pytest.raises(ValueError, match="a stream of"):
        StreamSpec(steps, blocks, columns, SPACES, overwrite)
    with pytest.raises(ValueError, match="rows of"):
        Stream.create(spec(1), shared=False).load(Rows.allocate(T, B, SPACES), T)

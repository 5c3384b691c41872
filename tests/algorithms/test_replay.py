"""Minibatches from the rings, against a slow search through all rows written."""

from collections import Counter

import numpy as np
import pytest

from covey.algorithms.joined_rows import archived
from covey.algorithms.prioritized_replay import SMALLEST, PrioritizedReplay
from covey.algorithms.replay import Batch, Replay

GAMMA = 0.9
SEEN, ACTING = 3, 2


def allocate(size, discrete=False):
    shape, dtype = ((size, 1), np.int64) if discrete else ((size, ACTING), np.float32)
    actions = np.zeros(shape, dtype)
    return Batch.around(
        np.zeros((size, SEEN), np.float32), actions, np.zeros((size, SEEN), np.float32)
    )


def slow_transitions(stream, steps, low=None):
    """All that can be sampled, by the observation's first number: reward, discount, next
    observation, action; step by step as the definition says.
    """
    rows, ring = stream.rows, len(stream.rows.rewards)
    found = {}
    low = stream.oldest_row if low is None else low
    for row in range(low, stream.rows_written - steps + 1):
        for column in range(rows.rewards.shape[1]):
            if not rows.valid[row % ring, column]:
                continue
            reward, discount, last = 0.0, 1.0, row
            for m in range(steps):
                at = (row + m) % ring
                if not rows.valid[at, column]:
                    break
                last = row + m
                reward += discount * float(rows.rewards[at, column])
                discount *= GAMMA
                if rows.terminated[at, column] or rows.truncated[at, column]:
                    break
            if rows.terminated[last % ring, column]:
                discount = 0.0
            seen = rows.observations[row % ring, column]
            following = rows.observations[last % ring + 1, column]
            found[float(seen[0])] = (reward, discount, following, rows.actions[row % ring, column])
    return found


def replay_of(streams, archives=(), capacity=10**6, steps=1, kind=Replay, **more):
    generator = np.random.default_rng(5)
    return kind(streams, archives, capacity, generator, gamma=GAMMA, steps=steps, **more)


@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("blocks", [2, 9])
def test_a_batch_holds_transitions_as_the_slow_search_finds_them(
    rings, spaces, blocks, steps, kind
):
    generator = np.random.default_rng(blocks)
    streams = [rings.make_stream(4, 6, columns, spaces) for columns in (2, 3)]
    for stream in streams:
        rings.write(stream, blocks, generator)
    expected = {}
    for stream in streams:
        expected |= slow_transitions(stream, steps)
    batch, replay, seen = (
        allocate(64, spaces.action.kind == "discrete"),
        replay_of(streams, steps=steps, kind=kind),
        set(),
    )
    for _ in range(40):
        replay.sample(batch)
        for i in range(64):
            reward, discount, following, action = expected[float(batch.observations[i, 0])]
            assert batch.rewards[i] == pytest.approx(reward, abs=1e-6)
            assert batch.discounts[i] == pytest.approx(discount)
            np.testing.assert_array_equal(batch.next_observations[i], following)
            np.testing.assert_array_equal(batch.actions[i], action)
            seen.add(float(batch.observations[i, 0]))
    assert seen == set(expected)


def counts(replay, draws, size=100):
    batch, counted = allocate(size), Counter()
    for _ in range(draws // size):
        replay.sample(batch)
        counted.update(batch.observations[:, 0].tolist())
    return counted


def chi_square(counted, probabilities):
    """Over its degrees of freedom: about 1 for independent draws, less for spread-out ones."""
    draws = sum(counted.values())
    expected = {key: draws * probability for key, probability in probabilities.items()}
    assert set(counted) <= set(expected)
    total = sum((counted[key] - mean) ** 2 / mean for key, mean in expected.items())
    return total / (len(expected) - 1)


def test_uniform_frequencies(rings):
    generator = np.random.default_rng(1)
    streams = [rings.make_stream(4, 5, columns) for columns in (1, 4)]
    rings.write(streams[0], 7, generator)
    rings.write(streams[1], 2, generator)
    found = [key for stream in streams for key in slow_transitions(stream, 1)]
    counted = counts(replay_of(streams), 40_000)
    # 5 standard deviations of a chi-square over so many degrees of freedom.
    room = 5 * (2 / len(found)) ** 0.5
    assert abs(chi_square(counted, {key: 1 / len(found) for key in found}) - 1) < room


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_prioritized_frequencies_are_the_exact_ones(rings, alpha):
    generator = np.random.default_rng(2)
    streams = [rings.make_stream(4, 5, columns) for columns in (1, 4)]
    for stream in streams:
        rings.write(stream, 6, generator)
    keys = [key for stream in streams for key in slow_transitions(stream, 1)]
    replay = replay_of(streams, kind=PrioritizedReplay, alpha=alpha)
    errors = dict(zip(keys, generator.uniform(0.1, 4, len(keys)), strict=True))
    batch = allocate(50)
    for _ in range(40):  # every transition is met at least once, and keeps the error it is given
        replay.sample(batch)
        sizes = [errors[key] for key in batch.observations[:, 0].tolist()]
        replay.reprioritize(batch, np.array(sizes, np.float32))
    exact = {key: (error + SMALLEST) ** alpha for key, error in errors.items()}
    total = sum(exact.values())
    probabilities = {key: weight / total for key, weight in exact.items()}
    # A batch of one has nothing to be spread over: its draws are independent.
    room = 5 * (2 / len(keys)) ** 0.5
    assert abs(chi_square(counts(replay, 20_000, size=1), probabilities) - 1) < room
    # Spread over equal shares, larger batches come closer than independent draws would.
    assert chi_square(counts(replay, 20_000), probabilities) < 1 + room
    replay.sample(batch)
    drawn = np.array([probabilities[key] for key in batch.observations[:, 0].tolist()])
    expected = (len(keys) * drawn) ** -0.4
    np.testing.assert_allclose(batch.weights, expected / expected.max(), rtol=1e-4)


def test_importance_weights_come_to_undo_the_priorities(rings):
    replay, stream = prioritized_with_errors(rings)
    replay.set_progress(1.0)
    batch = allocate(100)
    replay.sample(batch)
    priorities = replay.state()[1]["priorities.0"]
    chances = priorities[batch.slots - stream.oldest_row] / priorities.sum()
    np.testing.assert_allclose(batch.weights * chances, batch.weights[0] * chances[0], rtol=1e-5)


def prioritized_with_errors(rings):
    generator, stream = np.random.default_rng(3), rings.make_stream(8, 8, 1)
    rings.write(stream, 5, generator)
    replay = replay_of([stream], kind=PrioritizedReplay)
    batch = allocate(32)
    for _ in range(20):
        replay.sample(batch)
        replay.reprioritize(batch, generator.random(32).astype(np.float32))
    return replay, stream


def test_new_rows_have_the_highest_priority_and_overwritten_ones_none(rings):
    replay, stream = prioritized_with_errors(rings)
    batch = allocate(32)
    replay.sample(batch)
    replay.reprioritize(batch, np.full(32, 9.0, np.float32))
    rings.write(stream, 2, np.random.default_rng(8))
    replay.sample(batch)
    priorities = replay.state()[1]["priorities.0"]
    fresh = stream.rows.valid[40:56, 0]
    np.testing.assert_allclose(priorities[40:], np.where(fresh, (9.0 + SMALLEST) ** 0.6, 0))
    rings.write(stream, 5, np.random.default_rng(9))
    replay.sample(batch)
    held = replay.state()[1]["priorities.0"]
    assert len(held) == stream.rows_written - stream.oldest_row
    assert set(counts(replay, 5000)) == set(slow_transitions(stream, 1))


@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
def test_archives_retire_as_new_rows_come(rings, kind):
    generator = np.random.default_rng(4)
    archives = [rings.make_stream(5, 10, 2) for _ in range(2)]
    for archive in archives:
        rings.write(archive, 4, generator)
    live = rings.make_stream(6, 10, 4)
    replay = replay_of([live], archives, capacity=160, kind=kind)
    all_old = [slow_transitions(archive, 1) for archive in archives]
    assert set(counts(replay, 20_000)) == {key for old in all_old for key in old}
    rings.write(live, 2, generator)  # 80 of 160 slots: each archive keeps its newer half
    expected = set(slow_transitions(live, 1))
    for archive in archives:
        expected |= set(slow_transitions(archive, 1, low=20))
    assert set(counts(replay, 20_000)) == expected
    assert len(replay) == 160
    rings.write(live, 3, generator)  # nothing is left for them, nor for the oldest of the new rows
    assert set(counts(replay, 20_000)) == set(slow_transitions(live, 1, low=10))


@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
def test_goes_on_bit_for_bit(rings, kind):
    generator = np.random.default_rng(6)
    live, archive = rings.make_stream(4, 6, 3), rings.make_stream(4, 6, 2)
    rings.write(live, 7, generator)
    rings.write(archive, 2, generator)
    one = replay_of([live], [archive], kind=kind)
    batch = allocate(32)
    for _ in range(5):
        one.sample(batch)
        one.reprioritize(batch, generator.random(32).astype(np.float32))
    other = replay_of([live], [archive], kind=kind)
    other.restore(*one.state())
    rings.write(live, 1, generator)
    again = allocate(32)
    for _ in range(5):
        one.sample(batch)
        other.sample(again)
        np.testing.assert_array_equal(batch.slots, again.slots)
        np.testing.assert_array_equal(batch.weights, again.weights)
        errors = generator.random(32).astype(np.float32)
        one.reprioritize(batch, errors)
        other.reprioritize(again, errors)


def test_priorities_follow_the_rows_to_other_samplers(rings):
    generator = np.random.default_rng(7)
    live, archive = rings.make_stream(4, 6, 3), rings.make_stream(4, 6, 2)
    rings.write(live, 3, generator)
    rings.write(archive, 2, generator)
    one = replay_of([live], [archive], kind=PrioritizedReplay)
    batch = allocate(64)
    for _ in range(10):
        one.sample(batch)
        one.reprioritize(batch, generator.random(64).astype(np.float32))
    fresh = [rings.make_stream(4, 6, 1) for _ in range(2)]
    other = replay_of(fresh, [archive, live], kind=PrioritizedReplay)
    other.restore(*one.state())
    _, before = one.state()
    _, after = other.state()
    np.testing.assert_array_equal(after["priorities.2"], before["priorities.1"])
    np.testing.assert_array_equal(after["priorities.3"], before["priorities.0"])
    other.sample(batch)
    assert set(batch.observations[:, 0].tolist()) <= set(
        slow_transitions(live, 1) | slow_transitions(archive, 1)
    )


@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
def test_says_when_it_is_empty(rings, kind):
    replay = replay_of([rings.make_stream(3, 4, 1)], kind=kind)
    assert len(replay) == 0
    with pytest.raises(ValueError, match="no transition yet"):
        replay.sample(allocate(4))


class Overtaken:
    """A stream whose writer begins a new block while the first batch is being read."""

    def __init__(self, stream, after):
        self._stream, self._left, self._oldest = stream, after, stream.oldest_row
        self.rows = stream.rows

    @property
    def rows_written(self):
        return self._stream.rows_written

    @property
    def oldest_row(self):
        self._left -= 1
        if self._left == 0:
            self._oldest += 6
        return self._oldest


def test_rows_overwritten_while_they_are_read_are_read_again(rings):
    stream = rings.make_stream(4, 6, 1)
    rings.write(stream, 6, np.random.default_rng(0))
    gone = set(slow_transitions(stream, 1)) - set(
        slow_transitions(stream, 1, low=stream.oldest_row + 6)
    )
    batch = allocate(200)
    replay_of([Overtaken(stream, after=99)]).sample(batch)
    assert gone & set(batch.observations[:, 0].tolist())
    replay_of([Overtaken(stream, after=2)]).sample(batch)
    assert not gone & set(batch.observations[:, 0].tolist())


@pytest.mark.parametrize("steps", [1, 3])
def test_joined_rows_are_the_same_transitions(rings, spaces, steps):
    generator = np.random.default_rng(3)
    shapes = [(3, 2, 4, 2), (4, 6, 2, 9), (5, 4, 1, 5), (3, 2, 2, 0)]
    streams = [rings.make_stream(*shape, spaces) for *shape, _ in shapes]
    for stream, (*_, blocks) in zip(streams, shapes, strict=True):
        rings.write(stream, blocks, generator)
    before = {}
    for stream in streams:
        before |= slow_transitions(stream, steps)
    (joined,) = archived(streams, spaces, 10**6)
    after = slow_transitions(joined, steps)
    # The last rows of a stream, whose steps are not all there, end where it does now.
    assert set(after) >= set(before) and (steps > 1 or len(after) == len(before))
    for seen, expected in before.items():
        for one, other in zip(after[seen], expected, strict=True):
            np.testing.assert_array_equal(one, other)
    (again,) = archived([joined, rings.make_stream(3, 2, 1, spaces)], spaces, 10**6)
    assert set(slow_transitions(again, steps)) >= set(after)
    (newest,) = archived([again, rings.make_stream(3, 2, 1, spaces)], spaces, 40)
    assert 20 < len(slow_transitions(newest, steps)) <= 40


def test_rows_that_have_been_joined_are_new_ones_to_priorities(rings):
    generator = np.random.default_rng(4)
    streams = [rings.make_stream(4, 6, 1) for _ in range(2)]
    for stream in streams:
        rings.write(stream, 2, generator)
    one = replay_of(streams, kind=PrioritizedReplay)
    batch = allocate(16)
    one.sample(batch)
    one.reprioritize(batch, np.full(16, 9.0, np.float32))
    saved = one.state()
    for live in ([rings.make_stream(4, 6, 1)], [rings.make_stream(4, 6, 2) for _ in range(2)]):
        other = replay_of(
            live, archived(streams, streams[0].spec.spaces, 99), kind=PrioritizedReplay
        )
        other.restore(*saved)
        other.sample(batch)
        assert (batch.weights == 1).all()

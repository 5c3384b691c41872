"""The sampler and the evaluator on environments and policies with known answers."""

import threading
from dataclasses import fields

import numpy as np
import pytest

from covey.platform.errors import UserError
from covey.platform.runtime.evaluator import Evaluator
from covey.platform.runtime.fragment import Rows, Weights
from covey.platform.runtime.overlapped import Overlapped
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec
from covey.platform.runtime.weights_channel import SharedWeights
from covey.platform.seeds import derive

SPACES = Spaces(
    ObservationSpec("numeric", (1,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)


class Counting:
    """Environment b counts its steps, earns the action taken, and ends after b + 2 steps."""

    spaces = SPACES
    failures = 0

    def __init__(self, count=3):
        self.count = count
        self.lengths = np.arange(count) + 2

    def __str__(self):
        return "environment Counting"

    def reset(self, observations):
        self.steps = np.zeros(self.count)
        observations[:] = 0

    def step(self, actions, observations, rewards, terminated, truncated, valid):
        ended = self.steps == self.lengths
        self.steps = np.where(ended, 0, self.steps + 1)
        over = self.steps == self.lengths
        valid[:] = ~ended
        observations[:, 0] = self.steps
        rewards[:] = actions * valid
        terminated[:] = over & (np.arange(self.count) != 0)
        truncated[:] = over & (np.arange(self.count) == 0)

    def state(self):
        return {"steps": self.steps.tolist()}, {}

    def restore(self, record, arrays, observations):
        self.steps = np.array(record["steps"])
        observations[:, 0] = self.steps
        return True

    def close(self):
        self.steps = None


class Restless(Counting):
    """Begins new episodes instead of going on."""

    def restore(self, record, arrays, observations):
        self.reset(observations)
        return False


class Coin:
    """Draws 0 or 1; its best action is the published number."""

    def load(self, arrays):
        self.best_action = int(arrays["best"][0])

    def sample(self, observations, generator):
        return generator.integers(0, 2, len(observations)), np.full(len(observations), -0.7)

    def best(self, observations):
        return np.full(len(observations), self.best_action)


WEIGHTS = Weights(0, {"best": np.array([1])})


def stream(steps=6, blocks=4):
    return Stream.create(StreamSpec(steps, blocks, 3, SPACES, overwrite=False), shared=False)


def sampler(into, environments=Counting, seed=0):
    made = Sampler(environments, Coin, derive(seed, "sampler", 0))
    weights = SharedWeights.create(WEIGHTS.arrays, shared=False)
    weights.publish(WEIGHTS.arrays)
    made.connect(lambda: (into, weights))
    return made


def test_a_block_holds_steps_resets_and_who_acted():
    into = stream()
    assert sampler(into).sample()
    fragment = into.take()
    rows = fragment.rows
    assert fragment.version == 0 and fragment.env_steps == rows.valid.sum() == 14
    assert rows.observations[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert rows.observations[:, 2, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert rows.valid[:, 0].tolist() == [True, True, False, True, True, False]
    assert rows.truncated.nonzero()[0].tolist() == [1, 4]
    assert not rows.terminated[:, 0].any() and rows.terminated[2, 1]
    np.testing.assert_allclose(rows.logp, -0.7)
    np.testing.assert_array_equal(rows.rewards, rows.actions * rows.valid)


class Late(Counting):
    """Counting whose environments are those from number `first` on."""

    def __init__(self, count, first):
        super().__init__(count)
        self.first = first
        self.lengths = self.lengths + first

    def step(self, actions, observations, rewards, terminated, truncated, valid):
        super().step(actions, observations, rewards, terminated, truncated, valid)
        if self.first:  # only the first environment of all is cut short
            terminated |= truncated
            truncated[:] = False


def in_two_groups():
    return Overlapped(lambda: Late(2, 0), lambda: Late(1, 2))


def rows_of(into, count):
    found = []
    for _ in range(count):
        fragment = into.take()
        found.append([np.array(getattr(fragment.rows, f.name)) for f in fields(Rows)])
        found[-1] += [fragment.episodes.returns, fragment.episodes.lengths]
    return found


def test_two_groups_give_the_rows_of_one():
    one, two = stream(), stream()
    for into, environments in ((one, Counting), (two, in_two_groups)):
        collecting = sampler(into, environments)
        assert collecting.sample() and collecting.sample()
    for expected, found in zip(rows_of(one, 2), rows_of(two, 2), strict=True):
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_array_equal(left, right)


def test_one_group_steps_while_the_policy_acts_for_the_other():
    acting, stepping = threading.Event(), threading.Event()

    class Slow(Late):
        def step(self, *arrays):
            stepping.set()
            assert acting.wait(60), "nobody acted meanwhile"
            super().step(*arrays)

    class Thoughtful(Coin):
        def sample(self, observations, generator):
            if len(observations) == 1:  # the second group's: the first one is under way
                assert stepping.wait(60)
                acting.set()
            return super().sample(observations, generator)

    into = stream()
    made = Sampler(
        lambda: Overlapped(lambda: Slow(2, 0), lambda: Slow(1, 2)), Thoughtful, derive(0, "x")
    )
    weights = SharedWeights.create(WEIGHTS.arrays, shared=False)
    weights.publish(WEIGHTS.arrays)
    made.connect(lambda: (into, weights))
    assert made.sample()


def test_an_error_of_either_group_comes_through_and_both_are_closed():
    class Broken(Late):
        def step(self, *arrays):
            raise UserError("broken lamp")

    groups = [Late(2, 0), Broken(1, 2)]
    environments = Overlapped(*(lambda group=group: group for group in groups))
    with pytest.raises(UserError, match="broken lamp"):
        sampler(stream(), lambda: environments).sample()
    environments.close()
    assert [group.steps for group in groups] == [None, None]


def test_blocks_are_written_only_where_there_is_room_and_permission():
    into = stream(blocks=2)
    into.permit(1)
    collecting = sampler(into)
    assert [collecting.sample() for _ in range(2)] == [True, False]
    into.permit(9)
    assert [collecting.sample() for _ in range(2)] == [True, False]
    assert into.take() and into.take() and not into.take()
    into.release()
    assert collecting.sample()


def test_episodes_are_summed_across_blocks_in_the_order_in_which_they_end():
    into = stream(steps=3)
    collecting = sampler(into)
    first, second = (collecting.sample() and into.take() for _ in range(2))
    rewards = np.concatenate([first.rows.rewards, second.rows.rewards])
    assert first.episodes.lengths.tolist() == [2, 3]
    assert second.episodes.lengths.tolist() == [4, 2]
    assert first.episodes.returns.tolist() == [rewards[:2, 0].sum(), rewards[:3, 1].sum()]
    assert second.episodes.returns.tolist() == [rewards[:4, 2].sum(), rewards[3:5, 0].sum()]


@pytest.mark.parametrize("environments", [Counting, in_two_groups])
def test_goes_on_from_its_state_as_if_never_stopped(environments):
    into, other_into = stream(), stream()
    whole = sampler(into, environments)
    whole.sample()
    into.take()
    other = sampler(other_into, environments, seed=9)
    other.restore(*whole.state())
    whole.sample()
    other.sample()
    expected, found = into.take(), other_into.take()
    for f in fields(Rows):
        np.testing.assert_array_equal(getattr(found.rows, f.name), getattr(expected.rows, f.name))
    np.testing.assert_array_equal(found.episodes.returns, expected.episodes.returns)
    np.testing.assert_array_equal(found.episodes.lengths, expected.episodes.lengths)


class Failing(Counting):
    """All environments raise at their second step, once, and are replaced."""

    def step(self, actions, observations, rewards, terminated, truncated, valid):
        if not self.failures and self.steps.max() == 1:
            self.failures = self.count
            self.steps[:] = 0
            observations[:], rewards[:], terminated[:], truncated[:], valid[:] = 0, 0, 0, 0, 0
            return
        super().step(actions, observations, rewards, terminated, truncated, valid)


@pytest.mark.parametrize(
    ("make", "longest"),
    [(Failing, 4), (lambda: Overlapped(lambda: Failing(2), lambda: Failing(1)), 3)],
)
def test_a_failed_episode_is_no_part_of_the_next_one(make, longest):
    into = stream(steps=8)
    sampler(into, make).sample()
    assert into.take().episodes.lengths.max() == longest
    evaluation = Evaluator(make, Coin).evaluate(Weights(0, {"best": np.array([1])}), 3)
    assert evaluation.lengths.max() == evaluation.returns.max() == longest


def test_failures_of_samplers_before_are_counted_on():
    into = stream()
    for expected in (3, 6):
        sampler(into, Failing).sample()
        assert into.failures == expected


@pytest.mark.parametrize("restores", [False, True])
def test_one_that_takes_over_a_stream_leaves_a_row_between_its_episodes_and_those_before(restores):
    into = stream()
    before = sampler(into)
    before.sample()
    last_seen = into.take().rows.observations[-1].copy()
    after = sampler(into, Restless)
    if restores:
        after.restore(*before.state())
    after.sample()
    rows = into.take().rows
    np.testing.assert_array_equal(rows.observations[0], last_seen)
    assert not rows.valid[0].any() and not rows.rewards[0].any()
    assert not rows.observations[1].any() and rows.valid[1].all()
    assert not rows.terminated[0].any() and not rows.truncated[0].any()


def test_numbers_that_are_not_finite_are_refused():
    class Broken(Counting):
        def step(self, actions, observations, rewards, *flags):
            super().step(actions, observations, rewards, *flags)
            rewards[1] = np.nan

    with pytest.raises(UserError, match="Counting: a reward is not a finite number"):
        sampler(stream(), Broken).sample()


@pytest.mark.parametrize(("episodes", "lengths"), [(3, [2, 3, 4]), (5, [2, 2, 3, 3, 4]), (1, [2])])
def test_the_evaluator_plays_a_fixed_share_on_each_environment(episodes, lengths):
    evaluation = Evaluator(Counting, Coin).evaluate(WEIGHTS, episodes)
    assert sorted(evaluation.lengths.tolist()) == lengths
    np.testing.assert_array_equal(evaluation.returns, evaluation.lengths)  # the best action earns 1
    assert evaluation.version == 0

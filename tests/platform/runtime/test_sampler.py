"""The sampler and the evaluator on environments and policies with known answers."""

import numpy as np
import pytest

from covey.platform.errors import UserError
from covey.platform.runtime.evaluator import Evaluator
from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.seeds import derive

SPACES = Spaces(
    ObservationSpec("numeric", (1,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)


class Counting:
    """Environment b counts its steps, earns the action taken, and ends after b + 2 steps."""

    spaces = SPACES

    def __init__(self, count=3):
        self.count = count
        self.finals = []
        self.lengths = np.arange(count) + 2

    def __str__(self):
        return "environment Counting"

    def reset(self, observations):
        self.steps = np.zeros(self.count)
        observations[:] = 0

    def step(self, actions, observations, rewards, terminated, truncated):
        self.steps += 1
        over = self.steps == self.lengths
        self.finals = [(b, np.array([self.steps[b]])) for b in np.flatnonzero(over)]
        self.steps[over] = 0
        observations[:, 0] = self.steps
        rewards[:] = actions
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


class Coin:
    """Draws 0 or 1; its best action is the published number."""

    def load(self, arrays):
        self.best_action = int(arrays["best"][0])

    def sample(self, observations, generator):
        return generator.integers(0, 2, len(observations)), np.full(len(observations), -0.7)

    def best(self, observations):
        return np.full(len(observations), self.best_action)


def sampler(steps=5, seed=0):
    return Sampler(Counting, Coin, steps, derive(seed, "sampler", 0))


WEIGHTS = Weights(4, {"best": np.array([1])})


def test_a_fragment_holds_steps_final_observations_and_who_acted():
    fragment = sampler().sample(WEIGHTS)
    assert fragment.version == 4 and fragment.env_steps == 15
    assert fragment.observations[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert fragment.observations[:, 2, 0].tolist() == [0, 1, 2, 3, 0, 1]
    assert fragment.truncated.nonzero()[0].tolist() == [1, 3]
    assert not fragment.terminated[:, 0].any() and fragment.terminated[2, 1]
    where = {
        (s // 3, s % 3): f[0]
        for s, f in zip(fragment.final_steps, fragment.final_observations, strict=True)
    }
    assert where == {(1, 0): 2, (3, 0): 2, (2, 1): 3, (3, 2): 4}
    np.testing.assert_allclose(fragment.logp, -0.7)
    np.testing.assert_array_equal(fragment.rewards, fragment.actions)


def test_episodes_are_summed_across_fragments_in_the_order_in_which_they_end():
    collecting = sampler(steps=3)
    fragments = []
    for _ in range(2):
        fragment = collecting.sample(WEIGHTS)
        fragments.append((fragment.rewards.copy(), fragment.episodes))
    rewards = np.concatenate([one for one, _ in fragments])
    first, second = (episodes for _, episodes in fragments)
    assert first.lengths.tolist() == [2, 3] and second.lengths.tolist() == [2, 4, 2, 3]
    assert first.returns.tolist() == [rewards[:2, 0].sum(), rewards[:3, 1].sum()]
    assert second.returns.tolist() == [
        rewards[2:4, 0].sum(),
        rewards[:4, 2].sum(),
        rewards[4:6, 0].sum(),
        rewards[3:6, 1].sum(),
    ]


def test_goes_on_from_its_state_as_if_never_stopped():
    whole, other = sampler(), sampler(seed=9)
    whole.sample(WEIGHTS)
    other.restore(*whole.state())
    expected, found = whole.sample(WEIGHTS), other.sample(WEIGHTS)
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "final_steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.episodes.returns, expected.episodes.returns)
    np.testing.assert_array_equal(found.episodes.lengths, expected.episodes.lengths)


def test_numbers_that_are_not_finite_are_refused():
    class Broken(Counting):
        def step(self, actions, observations, rewards, terminated, truncated):
            super().step(actions, observations, rewards, terminated, truncated)
            rewards[1] = np.nan

    with pytest.raises(UserError, match="Counting: a reward is not a finite number"):
        Sampler(Broken, Coin, 2, derive(0, "sampler", 0)).sample(WEIGHTS)


@pytest.mark.parametrize(("episodes", "lengths"), [(3, [2, 3, 4]), (5, [2, 2, 3, 3, 4]), (1, [2])])
def test_the_evaluator_plays_a_fixed_share_on_each_environment(episodes, lengths):
    evaluation = Evaluator(Counting, Coin).evaluate(WEIGHTS, episodes)
    assert sorted(evaluation.lengths.tolist()) == lengths
    np.testing.assert_array_equal(evaluation.returns, evaluation.lengths)  # the best action earns 1
    assert evaluation.version == 4

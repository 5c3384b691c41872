"""Environments stepped together: same-step reset, final observations, replay, clear errors."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from covey.envs.make import EnvSource
from covey.envs.vector import VectorEnv
from covey.platform.errors import UserError
from covey.platform.seeds import derive_int

# Box2D's extension crashes the interpreter if this warning of its import is made an error.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")

THIRD_PARTY = str(Path(__file__).parent / "third_party")


def third_party(name, **kwargs):
    return EnvSource(f"lights.world:{name}", kwargs, THIRD_PARTY)


class Stepper:
    """A VectorEnv with arrays for its results."""

    def __init__(self, source, count=2, **kwargs):
        self.envs = VectorEnv(source, count, kwargs.pop("first", 0), root_seed=5, **kwargs)
        seen = self.envs.spaces.observation
        self.observations = np.zeros((count, *seen.shape), dtype=seen.dtype)
        self.rewards = np.zeros(count)
        self.terminated = np.zeros(count, dtype=bool)
        self.truncated = np.zeros(count, dtype=bool)

    def reset(self):
        self.envs.reset(self.observations)
        return self

    def step(self, actions):
        self.envs.step(
            np.asarray(actions), self.observations, self.rewards, self.terminated, self.truncated
        )


@pytest.mark.parametrize("ending", ["terminated", "truncated", "both"])
def test_the_end_of_an_episode_keeps_the_final_observation_and_shows_the_next_first(ending):
    stepper = Stepper(third_party("Count-v0", length=3, ending=ending)).reset()
    for taken in (1, 2):
        stepper.step([0, 1])
        assert stepper.observations.ravel().tolist() == [taken, taken]
        assert not stepper.envs.finals
    stepper.step([0, 1])
    assert [(b, final.tolist()) for b, final in stepper.envs.finals] == [(0, [3]), (1, [3])]
    assert stepper.observations.ravel().tolist() == [0, 0]
    assert stepper.terminated.tolist() == [ending in ("terminated", "both")] * 2
    assert stepper.truncated.tolist() == [ending in ("truncated", "both")] * 2
    stepper.step([0, 1])
    assert stepper.observations.ravel().tolist() == [1, 1]
    assert not (stepper.terminated | stepper.truncated).any() and not stepper.envs.finals


def test_episodes_equal_those_of_the_bare_environment_with_the_derived_seeds():
    stepper = Stepper(EnvSource("CartPole-v1"), count=2, first=3).reset()
    bare = gymnasium.make("CartPole-v1")
    expected, episode = bare.reset(seed=derive_int(5, "environment", 4, 0))[0], 0
    actions = np.random.default_rng(0).integers(0, 2, (120, 2))
    for both in actions:
        np.testing.assert_array_equal(stepper.observations[1], expected)
        stepper.step(both)
        expected, _, terminated, _, _ = bare.step(int(both[1]))
        if terminated:
            episode += 1
            expected = bare.reset(seed=derive_int(5, "environment", 4, episode))[0]
    assert episode > 2


def test_continuous_actions_are_clipped_to_the_box_and_discrete_ones_shifted():
    pendulum = Stepper(EnvSource("Pendulum-v1"), count=1).reset()
    twin = Stepper(EnvSource("Pendulum-v1"), count=1).reset()
    pendulum.step(np.array([[50.0]], dtype=np.float32))
    twin.step(np.array([[2.0]], dtype=np.float32))
    np.testing.assert_array_equal(pendulum.observations, twin.observations)
    follow = Stepper(third_party("Follow-v0"), count=1).reset()
    for _ in range(5):
        follow.step(follow.observations.copy())
        assert follow.rewards.tolist() == [1.0]


@pytest.mark.parametrize(
    "source",
    [EnvSource("LunarLander-v3"), EnvSource("Pendulum-v1"), third_party("Noisy-v0", seeded=True)],
    ids=str,
)
def test_replay_goes_on_exactly_where_it_was(source):
    whole = Stepper(source, replayable=True).reset()
    generator = np.random.default_rng(1)
    action = whole.envs.spaces.action

    def actions():
        if action.kind == "discrete":
            return generator.integers(0, action.choices, 2)
        return generator.normal(size=(2, action.width)).astype(np.float32)

    for _ in range(130):
        whole.step(actions())
    record, arrays = whole.envs.state()
    resumed = Stepper(source, replayable=True)
    assert resumed.envs.restore(record, arrays, resumed.observations)
    for _ in range(130):
        np.testing.assert_array_equal(resumed.observations, whole.observations)
        both = actions()
        whole.step(both)
        resumed.step(both)
        np.testing.assert_array_equal(resumed.rewards, whole.rewards)


def test_an_environment_that_cannot_be_replayed_is_named():
    whole = Stepper(third_party("Noisy-v0", seeded=False), replayable=True, first=4).reset()
    whole.step([0, 0])
    with pytest.raises(UserError, match=r"Noisy-v0 \(number 4, .*cannot be resumed exactly"):
        Stepper(third_party("Noisy-v0", seeded=False), first=4, replayable=True).envs.restore(
            *whole.envs.state(), whole.observations
        )


def test_without_replay_a_resume_begins_new_episodes_with_new_seeds():
    whole = Stepper(EnvSource("CartPole-v1")).reset()
    before = whole.observations.copy()
    resumed = Stepper(EnvSource("CartPole-v1"))
    assert not resumed.envs.restore(*whole.envs.state(), resumed.observations)
    assert not np.array_equal(resumed.observations, before)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reset", r"Faulty-v0 \(number 0, episode 0\): reset failed: RuntimeError: lamp broken"),
        ("step", r"Faulty-v0 \(number 0, episode 0\): step failed: RuntimeError: lamp broken"),
        ("shape", r"Faulty-v0: an observation has shape \(2,\).*declares \(1,\)"),
        ("dtype", r"Faulty-v0: an observation has dtype complex64.*declares float32"),
        ("space", r"Faulty-v0: observation space Dict.*not supported.*FlattenObservation"),
    ],
)
def test_what_an_environment_does_wrong_is_said_in_one_line(fault, words):
    with pytest.raises(UserError, match=words):
        stepper = Stepper(third_party("Faulty-v0", fault=fault)).reset()
        for _ in range(4):
            stepper.step([0, 0])

"""Environments stepped together: next-step reset, replay, replaced environments, clear errors."""

import json
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
    """Environments with arrays for what their steps write."""

    def __init__(self, source, count=2, **kwargs):
        self.envs = VectorEnv(source, count, kwargs.pop("first", 0), root_seed=5, **kwargs)
        seen = self.envs.spaces.observation
        self.observations = np.zeros((count, *seen.shape), dtype=seen.dtype)
        self.rewards = np.zeros(count, dtype=np.float32)
        self.terminated, self.truncated, self.valid = np.zeros((3, count), dtype=bool)

    def reset(self):
        self.envs.reset(self.observations)
        return self

    def step(self, actions):
        self.envs.step(
            np.asarray(actions),
            self.observations,
            self.rewards,
            self.terminated,
            self.truncated,
            self.valid,
        )

    def seen(self):
        return self.observations.ravel().tolist()


@pytest.mark.parametrize("ending", ["terminated", "truncated", "both"])
def test_the_end_shows_the_final_observation_and_a_row_without_a_step_the_next_first(ending):
    stepper = Stepper(third_party("Count-v0", length=3, ending=ending)).reset()
    for taken in (1, 2, 3):
        stepper.step([0, 1])
        assert stepper.seen() == [taken, taken]
        assert stepper.rewards.tolist() == [1, 1] and stepper.valid.all()
        assert stepper.terminated.tolist() == [taken == 3 and ending != "truncated"] * 2
        assert stepper.truncated.tolist() == [taken == 3 and ending != "terminated"] * 2
    stepper.step([0, 1])
    assert stepper.seen() == [0, 0] and stepper.rewards.tolist() == [0, 0]
    assert not (stepper.valid | stepper.terminated | stepper.truncated).any()
    stepper.step([0, 1])
    assert stepper.seen() == [1, 1] and stepper.valid.all()


def test_episodes_equal_those_of_the_bare_environment_with_the_derived_seeds():
    stepper = Stepper(EnvSource("CartPole-v1"), count=2, first=3).reset()
    bare = gymnasium.make("CartPole-v1")
    expected, episode = bare.reset(seed=derive_int(5, "environment", 4, 0))[0], 0
    actions = np.random.default_rng(0).integers(0, 2, (120, 2))
    terminated = False
    for both in actions:
        np.testing.assert_array_equal(stepper.observations[1], expected)
        stepper.step(both)
        assert stepper.valid[1] != terminated
        if terminated:
            episode, terminated = episode + 1, False
            expected = bare.reset(seed=derive_int(5, "environment", 4, episode))[0]
        else:
            expected, _, terminated, _, _ = bare.step(int(both[1]))
        assert stepper.terminated[1] == terminated
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
    resumed = saved_and_restored(whole, source)
    for _ in range(130):
        go_on_alike(whole, resumed, actions())


def saved_and_restored(stepper, source):
    record, arrays = stepper.envs.state()
    resumed = Stepper(source, stepper.envs.count, replayable=True)
    assert resumed.envs.restore(json.loads(json.dumps(record)), arrays, resumed.observations)
    np.testing.assert_array_equal(resumed.observations, stepper.observations)
    return resumed


def go_on_alike(one, other, actions):
    one.step(actions)
    other.step(actions)
    for name in ("observations", "rewards", "terminated", "truncated", "valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("taken", [2, 3, 4, 7])
def test_replay_goes_on_exactly_before_at_and_after_a_reset(taken):
    source = third_party("Noisy-v0", seeded=True, length=3)
    whole = Stepper(source, replayable=True).reset()
    for _ in range(taken):
        whole.step([0, 1])
    resumed = saved_and_restored(whole, source)
    for _ in range(9):
        go_on_alike(whole, resumed, [1, 0])
    again = saved_and_restored(resumed, source)
    for _ in range(9):
        go_on_alike(whole, again, [1, 0])


def test_a_long_run_keeps_only_the_actions_of_the_episodes_under_way():
    source = third_party("Noisy-v0", seeded=True, length=7)
    whole = Stepper(source, replayable=True).reset()
    for _ in range(3003):
        whole.step([0, 1])
    assert len(whole.envs.state()[1]["actions.0"]) == 3003 % 8
    resumed = saved_and_restored(whole, source)
    for _ in range(9):
        go_on_alike(whole, resumed, [1, 0])


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
        ("step", r"Faulty-v0 \(number 0, episode 1\): step failed: RuntimeError: lamp broken"),
        ("shape", r"Faulty-v0: an observation has shape \(2,\).*declares \(1,\)"),
        ("dtype", r"Faulty-v0: an observation has dtype complex64.*declares float32"),
        ("space", r"Faulty-v0: observation space Dict.*not supported.*FlattenObservation"),
    ],
)
def test_what_an_environment_does_wrong_is_said_in_one_line(fault, words):
    with pytest.raises(UserError, match=words):
        stepper = Stepper(third_party("Faulty-v0", fault=fault)).reset()
        for _ in range(8):
            stepper.step([0, 0])


def test_an_environment_that_raises_is_replaced_and_neither_it_nor_its_reset_is_a_transition():
    stepper = Stepper(third_party("Fragile-v0"), count=2, replayable=True).reset()
    for taken in range(1, 15):
        stepper.step([0, 1])
        assert stepper.seen() == [taken, taken]
    stepper.step([2, 1])
    assert stepper.seen() == [14, 15] and stepper.valid.tolist() == [False, True]
    assert stepper.rewards.tolist() == [0, 1] and not stepper.terminated.any()
    resumed = saved_and_restored(stepper, third_party("Fragile-v0"))
    for valid, count in ((False, 0), (True, 1), (True, 2)):
        go_on_alike(stepper, resumed, [0, 0])
        assert stepper.valid.tolist() == [valid, True] and stepper.seen()[0] == count
    assert stepper.envs.failures == 1


@pytest.mark.parametrize(("steps", "helps"), [(9, False), (10, True)])
def test_one_that_fails_again_is_replaced_again_only_if_it_worked_for_a_while(steps, helps):
    stepper = Stepper(third_party("Fragile-v0"), count=1).reset()
    stepper.step([2])
    stepper.step([0])
    for _ in range(steps):
        stepper.step([0])
        assert stepper.valid.all()
    if helps:
        stepper.step([2])
        assert stepper.envs.failures == 2
    else:
        with pytest.raises(UserError, match=r"Fragile-v0 \(number 0, episode 1\): step failed"):
            stepper.step([2])


def test_a_reset_that_fails_once_is_tried_again_in_the_row_after():
    stepper = Stepper(third_party("Fragile-v0", length=3, bad_resets=(2,)), count=1).reset()
    for _ in range(3):
        stepper.step([0])
    for first in (3, 0):
        stepper.step([0])
        assert stepper.seen() == [first] and not stepper.valid.any()
    stepper.step([0])
    assert stepper.valid.all() and stepper.seen() == [1] and stepper.envs.failures == 1

"""Environments stepped together: next-step reset, replay, replaced environments, clear errors."""

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


def make(source, count=2, first=0, **kwargs):
    return VectorEnv(source, count, first, root_seed=5, **kwargs)


@pytest.mark.parametrize("ending", ["terminated", "truncated", "both"])
def test_the_end_shows_the_final_observation_and_a_row_without_a_step_the_next_first(
    ending, stepper
):
    rows = stepper(make(third_party("Count-v0", length=3, ending=ending)))
    for taken in (1, 2, 3):
        rows.step([0, 1])
        assert rows.seen() == [taken, taken]
        assert rows.rewards.tolist() == [1, 1] and rows.valid.all()
        assert rows.terminated.tolist() == [taken == 3 and ending != "truncated"] * 2
        assert rows.truncated.tolist() == [taken == 3 and ending != "terminated"] * 2
    rows.step([0, 1])
    assert rows.seen() == [0, 0] and rows.rewards.tolist() == [0, 0]
    assert not (rows.valid | rows.terminated | rows.truncated).any()
    rows.step([0, 1])
    assert rows.seen() == [1, 1] and rows.valid.all()


def test_episodes_equal_those_of_the_bare_environment_with_the_derived_seeds(stepper):
    rows = stepper(make(EnvSource("CartPole-v1"), count=2, first=3))
    bare = gymnasium.make("CartPole-v1")
    expected, episode = bare.reset(seed=derive_int(5, "environment", 4, 0))[0], 0
    actions = np.random.default_rng(0).integers(0, 2, (120, 2))
    terminated = False
    for both in actions:
        np.testing.assert_array_equal(rows.observations[1], expected)
        rows.step(both)
        assert rows.valid[1] != terminated
        if terminated:
            episode, terminated = episode + 1, False
            expected = bare.reset(seed=derive_int(5, "environment", 4, episode))[0]
        else:
            expected, _, terminated, _, _ = bare.step(int(both[1]))
        assert rows.terminated[1] == terminated
    assert episode > 2


def test_continuous_actions_are_clipped_to_the_box_and_discrete_ones_shifted(stepper):
    pendulum = stepper(make(EnvSource("Pendulum-v1"), count=1))
    twin = stepper(make(EnvSource("Pendulum-v1"), count=1))
    pendulum.step(np.array([[50.0]], dtype=np.float32))
    twin.step(np.array([[2.0]], dtype=np.float32))
    np.testing.assert_array_equal(pendulum.observations, twin.observations)
    follow = stepper(make(third_party("Follow-v0"), count=1))
    for _ in range(5):
        follow.step(follow.observations.copy())
        assert follow.rewards.tolist() == [1.0]


@pytest.mark.parametrize(
    "source",
    [EnvSource("LunarLander-v3"), EnvSource("Pendulum-v1"), third_party("Noisy-v0", seeded=True)],
    ids=str,
)
def test_replay_goes_on_exactly_where_it_was(source, stepper):
    whole = stepper(make(source, replayable=True))
    generator = np.random.default_rng(1)
    action = whole.envs.spaces.action

    def actions():
        if action.kind == "discrete":
            return generator.integers(0, action.choices, 2)
        return generator.normal(size=(2, action.width)).astype(np.float32)

    for _ in range(130):
        whole.step(actions())
    resumed = whole.saved_into(make(source, replayable=True))
    for _ in range(130):
        whole.go_on_as(resumed, actions())


@pytest.mark.parametrize("taken", [2, 3, 4, 7])
def test_replay_goes_on_exactly_before_at_and_after_a_reset(taken, stepper):
    source = third_party("Noisy-v0", seeded=True, length=3)
    whole = stepper(make(source, replayable=True))
    for _ in range(taken):
        whole.step([0, 1])
    resumed = whole.saved_into(make(source, replayable=True))
    for _ in range(9):
        whole.go_on_as(resumed, [1, 0])
    again = resumed.saved_into(make(source, replayable=True))
    for _ in range(9):
        whole.go_on_as(again, [1, 0])


def test_a_long_run_keeps_only_the_actions_of_the_episodes_under_way(stepper):
    source = third_party("Noisy-v0", seeded=True, length=7)
    whole = stepper(make(source, replayable=True))
    for _ in range(3003):
        whole.step([0, 1])
    assert len(whole.envs.state()[1]["actions.0"]) == 3003 % 8
    resumed = whole.saved_into(make(source, replayable=True))
    for _ in range(9):
        whole.go_on_as(resumed, [1, 0])


def test_an_environment_that_cannot_be_replayed_is_named(stepper):
    whole = stepper(make(third_party("Noisy-v0", seeded=False), replayable=True, first=4))
    whole.step([0, 0])
    with pytest.raises(UserError, match=r"Noisy-v0 \(number 4, .*cannot be resumed exactly"):
        make(third_party("Noisy-v0", seeded=False), first=4, replayable=True).restore(
            *whole.envs.state(), whole.observations
        )


def test_without_replay_a_resume_begins_new_episodes_with_new_seeds(stepper):
    whole = stepper(make(EnvSource("CartPole-v1")))
    before = whole.observations.copy()
    assert not make(EnvSource("CartPole-v1")).restore(*whole.envs.state(), whole.observations)
    assert not np.array_equal(whole.observations, before)


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
def test_what_an_environment_does_wrong_is_said_in_one_line(fault, words, stepper):
    with pytest.raises(UserError, match=words):
        rows = stepper(make(third_party("Faulty-v0", fault=fault)))
        for _ in range(8):
            rows.step([0, 0])


def test_an_environment_that_raises_is_replaced_and_neither_it_nor_its_reset_is_a_transition(
    stepper,
):
    rows = stepper(make(third_party("Fragile-v0"), count=2, replayable=True))
    for taken in range(1, 15):
        rows.step([0, 1])
        assert rows.seen() == [taken, taken]
    rows.step([2, 1])
    assert rows.seen() == [14, 15] and rows.valid.tolist() == [False, True]
    assert rows.rewards.tolist() == [0, 1] and not rows.terminated.any()
    resumed = rows.saved_into(make(third_party("Fragile-v0"), replayable=True))
    for valid, count in ((False, 0), (True, 1), (True, 2)):
        rows.go_on_as(resumed, [0, 0])
        assert rows.valid.tolist() == [valid, True] and rows.seen()[0] == count
    assert rows.envs.failures == 1


@pytest.mark.parametrize(("steps", "helps"), [(9, False), (10, True)])
def test_one_that_fails_again_is_replaced_again_only_if_it_worked_for_a_while(
    steps, helps, stepper
):
    rows = stepper(make(third_party("Fragile-v0"), count=1))
    rows.step([2])
    rows.step([0])
    for _ in range(steps):
        rows.step([0])
        assert rows.valid.all()
    if helps:
        rows.step([2])
        assert rows.envs.failures == 2
    else:
        with pytest.raises(UserError, match=r"Fragile-v0 \(number 0, episode 1\): step failed"):
            rows.step([2])


def test_a_reset_that_fails_once_is_tried_again_in_the_row_after(stepper):
    rows = stepper(make(third_party("Fragile-v0", length=3, bad_resets=(2,)), count=1))
    for _ in range(3):
        rows.step([0])
    for first in (3, 0):
        rows.step([0])
        assert rows.seen() == [first] and not rows.valid.any()
    rows.step([0])
    assert rows.valid.all() and rows.seen() == [1] and rows.envs.failures == 1

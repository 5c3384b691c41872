"""Agents as columns: who is there when, replay, replacement, what cannot be."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from covey.envs.make import EnvSource, make_environments
from covey.envs.parallel import ParallelEnv
from covey.envs.vector import VectorEnv
from covey.envs.world import Outcome
from covey.platform.errors import UserError
from covey.platform.seeds import derive_int

THIRD_PARTY = str(Path(__file__).parent / "third_party")
SPREAD = EnvSource("mpe2.simple_spread_v3", {"max_cycles": 4})


def crowd(function="", **kwargs):
    return EnvSource("lights.crowd" + function, kwargs, THIRD_PARTY)


def make(source, environments=2, first=0, **kwargs):
    return make_environments(source, environments, first, root_seed=5, **kwargs)


def as_digits(flags):
    return "".join(str(int(flag)) for flag in flags)


def test_agents_that_leave_end_once_and_their_columns_wait_for_the_next_episode(stepper):
    rows = stepper(make(crowd(), environments=1))
    shown = []
    for t in range(1, 8):
        rows.step([0, 1, t % 2])
        digits = map(as_digits, (rows.terminated, rows.truncated, rows.valid))
        shown.append((*digits, rows.rewards.tolist(), (rows.observations[:, 0] // 1).tolist()))
    # Agents 0 to 2 stay for 2, 4 and 3 steps; row 5 is the reset.
    assert shown == [
        ("000", "000", "111", [0, 1, 1], [1, 1, 1]),
        ("100", "000", "111", [0, 1, 0], [2, 2, 2]),
        ("001", "000", "011", [0, 1, 1], [2, 3, 3]),
        ("000", "010", "010", [0, 1, 0], [2, 4, 3]),
        ("000", "000", "000", [0, 0, 0], [0, 0, 0]),
        ("000", "000", "111", [0, 1, 0], [1, 1, 1]),
        ("100", "000", "111", [0, 1, 1], [2, 2, 2]),
    ]


def test_agents_that_enter_late_are_valid_from_the_step_after_they_are_first_seen(stepper):
    rows = stepper(make(crowd(enters=(0, 2, 0), stays=(3, 4, 5)), environments=1))
    assert rows.observations[1].tolist() == [0, 0]
    valid = []
    for _ in range(6):
        rows.step([0, 0, 0])
        valid.append(as_digits(rows.valid))
        if len(valid) == 2:
            assert rows.observations[1, 1] == 1
    assert valid == ["101", "101", "111", "011", "001", "000"]


def test_columns_are_the_agents_of_one_environment_after_those_of_another(stepper):
    rows = stepper(make(crowd(), environments=2))
    assert rows.envs.agents == ("walker_0", "walker_1", "walker_2") and rows.envs.count == 6
    rows.step([0, 1, 0, 1, 0, 1])
    assert rows.rewards.tolist() == [0, 1, 0, 1, 0, 1]
    assert rows.observations[:, 1].tolist() == [0, 1, 2, 0, 1, 2]
    noise = rows.observations[:, 0]
    assert noise[0] == noise[2] != noise[3] == noise[5]
    other = stepper(make(crowd(), environments=1, first=1))
    other.step([1, 0, 1])
    np.testing.assert_array_equal(other.observations, rows.observations[3:])


@pytest.mark.parametrize("taken", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    "source", [crowd(), SPREAD, EnvSource(SPREAD.id, {"continuous_actions": True})], ids=str
)
def test_replay_goes_on_exactly_with_agents_there_and_gone(source, taken, stepper):
    rows = stepper(make(source, replayable=True))
    generator = np.random.default_rng(1)
    action = rows.envs.spaces.action

    def actions():
        if action.kind == "discrete":
            return generator.integers(0, 2, 6)
        return generator.random((6, action.width)).astype(np.float32)

    for _ in range(taken):
        rows.step(actions())
    resumed = rows.saved_into(make(source, replayable=True))
    for _ in range(8):
        rows.go_on_as(resumed, actions())


def test_simple_spread_is_what_its_own_interface_shows(stepper):
    from mpe2 import simple_spread_v3

    rows = stepper(make(SPREAD, environments=1))
    bare = simple_spread_v3.parallel_env(max_cycles=4)
    seen, _ = bare.reset(seed=derive_int(5, "environment", 0, 0))
    for actions in ([1, 2, 3], [4, 0, 1], [2, 2, 2], [3, 1, 0]):
        np.testing.assert_array_equal(rows.observations, list(seen.values()))
        rows.step(actions)
        seen, gained, _, cut, _ = bare.step(dict(zip(rows.envs.agents, actions, strict=True)))
        np.testing.assert_allclose(rows.rewards, list(gained.values()), rtol=1e-6)
        assert rows.truncated.tolist() == list(cut.values()) and rows.valid.all()
    assert rows.truncated.all()


def test_one_that_raises_is_replaced_and_the_others_go_on(stepper):
    rows = stepper(make(crowd(stays=(50, 50, 50)), environments=2))
    rows.step([0] * 6)
    shown = rows.observations.copy()
    rows.step([0, 2, 0, 1, 1, 1])
    assert as_digits(rows.valid) == "000111" and rows.rewards.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(rows.observations[:3], shown[:3])
    rows.step([0] * 6)
    assert as_digits(rows.valid) == "000111" and rows.envs.failures == 1
    rows.step([0] * 6)
    assert rows.valid.all() and (rows.observations[:, 0] // 1).tolist() == [1, 1, 1, 4, 4, 4]
    with pytest.raises(UserError, match=r"crowd \(number 0, episode 1\): step failed: .*crowded"):
        rows.step([2] * 6)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (crowd(alike=False), r"must have the same spaces, but walker_0 sees .* walker_1 sees"),
        (crowd(wings=2), "making it failed.*wings"),
        (crowd(":parallel"), "lights.crowd has no function parallel "),
        (crowd(":not_an_environment"), "no parallel environment"),
        (EnvSource("lights.lamps", {}, THIRD_PARTY), "no module 'lights.lamps' in the job's code"),
        (EnvSource("json.decoder"), "json.decoder has no function parallel_env"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(source, words):
    with pytest.raises(UserError, match=words) as caught:
        make(source)
    assert source.id in str(caught.value) and "\n" not in str(caught.value)


def test_ids_of_either_kind_are_told_apart():
    assert isinstance(make(crowd(":Crowd")), ParallelEnv)
    in_module = EnvSource("lights.world:Count-v0", {}, THIRD_PARTY)
    assert isinstance(make(in_module), VectorEnv)
    # Registered without a version, a name looks like a function's.
    assert isinstance(make(EnvSource("lights.world:Plain", {}, THIRD_PARTY)), VectorEnv)


def test_shorter_rows_end_in_zeros():
    """Three hunters of `mpe2` also see how fast the prey is, which does not see that of itself."""
    env = make(EnvSource("mpe2.simple_tag_v3", {"max_cycles": 3}))
    theirs = import_module("mpe2.simple_tag_v3").parallel_env()
    widths = [theirs.observation_space(agent).shape[0] for agent in theirs.possible_agents]
    assert widths == [16, 16, 16, 14] and env.spaces.observation.shape == (16,)
    row = Outcome.allocate(env.count, env.spaces)
    row.observations.fill(7.0)
    env.reset(row.observations)
    for _ in range(5):
        prey = row.observations[3::4]
        assert (prey[:, 14:] == 0).all() and (prey[:, 2:4] != 0).all()
        assert (row.observations[:3] != 7).all()
        outcome = row.rewards, row.terminated, row.truncated, row.valid
        env.step(np.full(env.count, 1), row.observations, *outcome)

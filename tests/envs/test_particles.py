"""Our batched particle worlds against `mpe2`'s, step by step, and against themselves."""

import json
from importlib import import_module

import numpy as np
import pytest
from mpe2._mpe_utils.simple_env import SimpleEnv
from mpe2.simple_push import simple_push
from pettingzoo.utils.conversions import aec_to_parallel

from covey.envs.make import EnvSource, make_environments
from covey.envs.particles.environments import ParticleEnv
from covey.envs.particles.picture import COLOURS
from covey.envs.stage import open_stage
from covey.envs.world import Outcome
from covey.platform.errors import UserError

WORLDS = 5
SIZES = [
    ("simple_spread", 1, {}, {"N": 1}),
    ("simple_spread", 3, {}, {"N": 3}),
    ("simple_spread", 8, {"local_ratio": 0.2}, {"N": 8, "local_ratio": 0.2}),
    ("simple_tag", 4, {}, {}),
    (
        "simple_tag",
        8,
        {"adversaries": 5, "obstacles": 3},
        {"num_good": 3, "num_adversaries": 5, "num_obstacles": 3},
    ),
    ("simple_adversary", 3, {}, {}),
    ("simple_adversary", 10, {}, {"N": 9}),
    ("simple_push", 2, {}, {}),
]


def mpe2_env(name, kwargs):
    return import_module(f"mpe2.{name}_v3").parallel_env(**kwargs)


def push_env(agents, adversaries, **kwargs):
    """`mpe2`'s simple_push, which is for two, with more agents."""

    class Scenario(simple_push.Scenario):
        def make_world(self):
            world = super().make_world()
            world.agents = [simple_push.ExtendedAgent() for _ in range(agents)]
            for k, agent in enumerate(world.agents):
                agent.silent, agent.adversary = True, k < adversaries
                agent.name = f"adversary_{k}" if agent.adversary else f"agent_{k - adversaries}"
            return world

    scenario = Scenario()
    env = SimpleEnv(scenario=scenario, world=scenario.make_world(), max_cycles=25, **kwargs)
    return aec_to_parallel(env)


class Theirs:
    """A world of `mpe2`, and ours put where it stands."""

    def __init__(self, env, seed):
        self.env = env
        self.seen, _ = self.env.reset(seed=seed)
        self.world = self.env.aec_env.unwrapped.world

    def place(self, scenario, w):
        bodies = self.world.entities
        scenario.bodies.positions[w] = [body.state.p_pos for body in bodies]
        scenario.bodies.velocities[w] = [agent.state.p_vel for agent in self.world.agents]
        if scenario.HAS_GOAL:
            goal = self.world.agents[0].goal_a
            scenario.goal[w] = self.world.landmarks.index(goal)

    def observations(self):
        return [self.seen[name] for name in self.env.possible_agents]

    def step(self, actions):
        named = dict(zip(self.env.possible_agents, actions, strict=True))
        self.seen, rewards, _, cut, _ = self.env.step(named)
        return [rewards[name] for name in self.env.possible_agents], all(cut.values())


def padded(rows, width):
    return np.stack([np.pad(row, (0, width - len(row))) for row in rows])


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize(("name", "agents", "ours", "theirs"), SIZES)
def test_agrees_with_mpe2_step_by_step(name, agents, ours, theirs, continuous):
    kwargs = {**theirs, "continuous_actions": continuous}
    worlds = [Theirs(mpe2_env(name, kwargs), seed) for seed in range(WORLDS)]
    compare(EnvSource(name, {**ours, "continuous_actions": continuous}, agents=agents), worlds)


@pytest.mark.parametrize("pushing", [2, 3])
def test_push_for_more_agents_than_mpe2_has(pushing):
    worlds = [Theirs(push_env(4, pushing), seed) for seed in range(WORLDS)]
    compare(EnvSource("simple_push", {"adversaries": pushing}, agents=4), worlds)


def compare(source, worlds):
    agents, continuous = source.agents, source.kwargs.get("continuous_actions", False)
    env = ParticleEnv(source, WORLDS, 0, 7)
    assert list(env.scenario.names) == worlds[0].env.possible_agents
    row = Outcome.allocate(env.count, env.spaces)
    env.reset(row.observations)
    for w, world in enumerate(worlds):
        world.place(env.scenario, w)
    env.scenario.observe(row.observations.reshape(WORLDS, agents, -1))
    generator = np.random.default_rng(1)
    touched = False
    for step in range(25):
        for w, world in enumerate(worlds):
            expected = padded(world.observations(), env.scenario.width)
            seen = row.observations.reshape(WORLDS, agents, -1)[w]
            np.testing.assert_allclose(seen, expected, atol=1e-6)
        actions = (
            generator.random((WORLDS * agents, 5), dtype=np.float32)
            if continuous
            else towards_others(env, generator)
        )
        env.step(actions, row.observations, row.rewards, *flags(row))
        touched |= bool(env.scenario.bodies.touching().any())
        for w, world in enumerate(worlds):
            rewards, over = world.step(actions.reshape(WORLDS, agents, *actions.shape[1:])[w])
            np.testing.assert_allclose(env.scenario.rewards()[w], rewards, rtol=0, atol=1e-6)
            # Those of many agents are large: as float32 they keep seven digits.
            np.testing.assert_allclose(row.rewards.reshape(WORLDS, agents)[w], rewards, rtol=1e-6)
            assert over == (step == 24)
        assert row.valid.all() and not row.terminated.any()
        assert (row.truncated == (step == 24)).all()
    assert touched or continuous or agents == 1  # else contacts were not compared


def towards_others(env, generator):
    """Actions that bring agents together, mostly."""
    positions = env.scenario.bodies.of_agents
    away = positions.mean(axis=1, keepdims=True) - positions
    horizontal = np.where(away[..., 0] > 0, 2, 1)
    vertical = np.where(away[..., 1] > 0, 4, 3)
    actions = np.where(np.abs(away[..., 0]) > np.abs(away[..., 1]), horizontal, vertical).ravel()
    random = generator.integers(5, size=len(actions))
    return np.where(generator.random(len(actions)) < 0.2, random, actions)


def flags(row):
    return row.terminated, row.truncated, row.valid


def play(env, steps, seed=0, observations=None):
    """Rows of random play: copies of observations, rewards, truncated, valid."""
    row = Outcome.allocate(env.count, env.spaces)
    if observations is None:
        env.reset(row.observations)
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(steps):
        actions = generator.integers(5, size=env.count)
        env.step(actions, row.observations, row.rewards, *flags(row))
        found.append([part.copy() for part in (row.observations, row.rewards, *flags(row))])
    return [np.stack(part) for part in zip(*found, strict=True)]


def test_episodes_are_cut_and_followed_by_others():
    env = make_environments(EnvSource("simple_spread", {"max_cycles": 4}, agents=2), 3, 0, 5)
    assert env.count == 6 and env.spaces.agents == 2
    seen, rewards, terminated, truncated, valid = play(env, 10)
    expected = [False, False, False, True, False] * 2
    assert (truncated == np.array(expected)[:, None]).all() and not terminated.any()
    assert (valid == (np.arange(10) % 5 != 4)[:, None]).all()
    assert (rewards[4] == 0).all() and (rewards[:4] < 0).all()
    begun = seen[4]  # everybody rests where the next episode begins
    assert (begun[:, :2] == 0).all() and np.abs(begun[:, 2:4]).max() <= 1
    assert not np.allclose(begun, seen[9])


def test_goes_on_exactly_from_where_it_stood():
    source = EnvSource("simple_adversary", agents=4)
    env = make_environments(source, 3, 0, 5)
    play(env, 30)
    record, arrays = json.loads(json.dumps(env.state()[0])), env.state()[1]
    expected = play(env, 60, observations=True)
    resumed = make_environments(source, 3, 0, 5)
    seen = Outcome.allocate(env.count, env.spaces).observations
    assert resumed.restore(record, arrays, seen)
    for ours, theirs in zip(play(resumed, 60, observations=seen), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_worlds_differ_by_number_role_and_seed():
    source = EnvSource("simple_tag")
    first = [
        play(make_environments(source, 1, *where), 1)[0]
        for where in ((0, 5), (0, 5), (1, 5), (0, 6), (0, 5, "evaluation"))
    ]
    np.testing.assert_array_equal(first[0], first[1])
    assert all(not np.array_equal(first[0], other) for other in first[2:])


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (EnvSource("simple_tag", agents=1), r"env.agents: simple_tag needs at least 2, 1 given"),
        (EnvSource("simple_tag", {"adversaries": 4}), "with 4 agents needs 1 to 3, 4 given"),
        (EnvSource("simple_push", {"adversaries": 0}), "with 2 agents needs 1 to 1, 0 given"),
        (EnvSource("simple_push", {"N": 3}), "no argument 'N'; there are adversaries, max_cycles"),
        (EnvSource("simple_spread", {"max_cycles": 0}), "max_cycles is at least 1, 0 given"),
        (EnvSource("CartPole-v1", agents=2), "env.agents: only simple_spread, .* CartPole-v1"),
    ],
    ids=str,
)
def test_what_cannot_be_made(source, why):
    with pytest.raises(UserError, match=why):
        make_environments(source, 2, 0, 0)


def test_is_drawn():
    stage = open_stage(EnvSource("simple_push", agents=3))
    seen = stage.begin(seed=4)
    over, steps = False, 0
    while not over:
        seen, over = stage.step(np.full(3, 4))
        steps += 1
    assert steps == 25 and seen.shape == (3, stage.begin(5).shape[1])
    picture = stage.picture()
    stage.close()
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert colours == {(255, 255, 255), *COLOURS.values()}

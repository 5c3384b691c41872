"""Policies of their own for each agent: the same as each alone, and none sees another's columns."""

from dataclasses import replace

import numpy as np

from covey.algorithms.ppo import PPOConfig
from covey.algorithms.separate import SeparatePolicies, columns_of, split
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.seeds import derive_int

ONE = Spaces(
    ObservationSpec("numeric", (2,), "float32"), ActionSpec("discrete", (), "int64", choices=3)
)
THREE = replace(ONE, agents=3)
CONFIG = PPOConfig(name="ppo", policies="separate", hidden=(8,), minibatch_size=16, epochs=2)


def fragment():
    generator = np.random.default_rng(0)
    rows = Rows.allocate(8, 6, THREE)  # two environments of three agents
    rows.observations[...] = generator.normal(size=rows.observations.shape)
    rows.actions[...] = generator.integers(0, 3, (8, 6))
    rows.logp[...] = -1.1
    rows.rewards[...] = generator.normal(size=(8, 6))
    rows.valid[...] = True
    rows.valid[3, 2] = False  # that agent has left
    return Fragment(rows, Episodes(np.zeros(0), np.zeros(0, np.int64)), 0, 0.0, 0.0)


def test_each_agent_learns_as_if_alone_and_a_state_goes_on_exactly():
    learner = CONFIG.make_learner(THREE, 5, 1)
    metrics = learner.update(0.0, fragment())
    assert metrics["frames"] == 2 * (16 + 16 + 15)
    models = split(learner.state().model, 3)
    for agent in range(3):
        alone = CONFIG.make_learner(ONE, derive_int(5, "policy", agent), 1)
        alone.update(0.0, columns_of(fragment(), agent, 3))
        for name, array in alone.state().model.items():
            np.testing.assert_array_equal(models[agent][name], array)
    twin = CONFIG.make_learner(THREE, 99, 1)
    twin.restore(learner.state())
    for one in (learner, twin):
        one.update(0.0, fragment())
    for name, array in learner.state().model.items():
        np.testing.assert_array_equal(twin.state().model[name], array)


def test_each_agent_acts_with_its_own_weights():
    learner = CONFIG.make_learner(THREE, 5, 1)
    policy = CONFIG.make_policy(THREE)
    assert isinstance(policy, SeparatePolicies)
    policy.load(learner.weights().arrays)
    seen = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32) * 50
    actions = policy.best(seen)
    sampled, logp = policy.sample(seen, np.random.default_rng(2))
    assert actions.shape == sampled.shape == logp.shape == (6,)
    single = CONFIG.make_policy(ONE)
    for agent, arrays in enumerate(split(learner.weights().arrays, 3)):
        single.load(arrays)
        np.testing.assert_array_equal(actions[agent::3], single.best(seen[agent::3]))


def test_shared_is_one_policy_for_all_columns():
    shared = CONFIG.model_copy(update={"policies": "shared"})
    arrays = shared.make_learner(THREE, 5, 1).weights().arrays
    assert arrays.keys() == shared.make_learner(ONE, 5, 1).weights().arrays.keys()


def test_an_agent_that_has_left_for_good_learns_nothing_and_the_others_go_on():
    learner = CONFIG.make_learner(THREE, 5, 1)
    before = split(learner.state().model, 3)
    left = fragment()
    left.rows.valid[:, 1::3] = False
    metrics = learner.update(0.0, left)
    assert metrics["frames"] == 2 * (16 + 15) and np.isfinite(metrics["policy_loss"])
    after = split(learner.state().model, 3)
    for agent, learns in enumerate((True, False, True)):
        same = all(np.array_equal(before[agent][n], after[agent][n]) for n in before[agent])
        assert same != learns
    left.rows.valid[...] = False
    assert learner.update(0.0, left)["gradient_steps"] == 0

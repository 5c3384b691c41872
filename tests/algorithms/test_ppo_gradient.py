"""PPO's gradient in parts: their sum is the gradient, whoever computes them."""

import numpy as np
import pytest
import torch
from thread_crew import ThreadCrew

from covey.algorithms.agent import Agent, Batch
from covey.algorithms.coded import Coded, Inject, make_pool
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.ppo_gradient import TERMS, GradientPart, snapshot_of, work_of
from covey.algorithms.ppo_learner import PPOLearner
from covey.algorithms.ppo_loss import loss_of
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

NUMBERS = ObservationSpec("numeric", (3,), "float32")
IMAGES = ObservationSpec("numeric", (2, 40, 40), "uint8")
CHOICES = ActionSpec("discrete", (), "int64", choices=4)
FORCES = ActionSpec("continuous", (2,), "float32", low=(-1.0, -1.0), high=(1.0, 1.0))
KINDS = [Spaces(NUMBERS, CHOICES), Spaces(NUMBERS, FORCES), Spaces(IMAGES, CHOICES)]
ROOM = 32


def config_of(**settings):
    return PPOConfig(name="ppo", minibatch_size=ROOM, hidden=(8,), entropy_coef=0.1, **settings)


def batch_of(spaces, size):
    generator = torch.Generator().manual_seed(size)
    seen = torch.rand(size, *spaces.observation.shape, generator=generator)
    if spaces.observation.is_image:
        seen = (255 * seen).to(torch.uint8)
    actions = torch.rand(size, 2, generator=generator)
    if spaces.action.kind == "discrete":
        actions = torch.randint(4, (size,), generator=generator)
    logp, advantages, returns = torch.randn(3, size, generator=generator)
    return Batch(seen, actions, logp - 1, advantages, returns)


@pytest.mark.parametrize("spaces", KINDS, ids=["numbers", "continuous", "images"])
@pytest.mark.parametrize(("size", "parts"), [(ROOM, 1), (ROOM, 6), (19, 4), (3, 5)])
def test_parts_add_up_to_the_gradient_and_the_loss(spaces, size, parts):
    config, batch = config_of(), batch_of(spaces, size)
    agent = Agent(config, spaces, 7)
    loss = loss_of(agent, batch, 0.3, config.value_coef, config.entropy_coef)
    whole = torch.cat([agent.gradient(loss.total), torch.stack(loss).detach()]).numpy().copy()
    tasks = GradientPart(config, spaces, parts)
    snapshot = snapshot_of(agent, batch, 0.3, ROOM)
    template = work_of(agent, config, spaces, parts).template
    for name, array in snapshot.items():
        assert (array.shape, array.dtype) == (template[name].shape, template[name].dtype)
    found = sum(tasks.compute(snapshot, task).astype(float) for task in range(parts))
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-6)
    assert np.abs(whole[:-TERMS]).max() > 1e-3


def fragment(spaces, steps, count, seed):
    generator = np.random.default_rng(seed)
    rows = Rows.allocate(steps, count, spaces)
    rows.observations[...] = generator.normal(size=rows.observations.shape)
    rows.actions[...] = generator.integers(4, size=rows.actions.shape)
    rows.logp[...] = -1.4
    rows.rewards[...] = generator.normal(size=rows.rewards.shape)
    rows.valid[...] = True
    rows.terminated[...] = rows.truncated[...] = False
    return Fragment(rows, Episodes(np.zeros(0), np.zeros(0, np.int64)), 0, 0.0, 0.0)


@pytest.mark.parametrize("code", ["uncoded", "mds", "fractional-repetition", "cyclic"])
def test_a_pool_with_a_straggler_learns_what_one_process_does(code):
    spaces, config = KINDS[0], config_of(epochs=3, learning_rate=1e-3)
    alone, led = (PPOLearner(config, spaces, 3, 1) for _ in range(2))
    late = 0 if code == "uncoded" else 1
    coded = Coded(code=code, tolerate=late, inject=Inject(stragglers=late, delay_s=60.0))
    noted = []
    led.pool = make_pool(coded, led.work(4), 0, ThreadCrew(), lambda *event: noted.append(event))
    for number in range(3):
        fragments = [fragment(spaces, 10, 5, seed=10 * number + k) for k in range(2)]
        wanted, found = (one.update(0.0, *fragments) for one in (alone, led))
        for name in ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-5)
        assert found["gradient_steps"] == wanted["gradient_steps"] == 12
        assert found["iteration_s"] < 10 and found["results_received"] >= 2
    for name, weights in alone.state().model.items():
        np.testing.assert_allclose(led.state().model[name], weights, rtol=0, atol=1e-4)
    led.pool.close()
    assert not noted

"""PPO's loss against cases worked out by hand, and one update's effect."""

import math

import numpy as np
import pytest
import torch

from covey.algorithms.networks import (
    ActorCritic,
    ImageTorso,
    can_be_blocks,
    flatten_parameters,
)
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.ppo_loss import ppo_loss
from covey.algorithms.rollout import join
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

SPACES = Spaces(
    ObservationSpec("numeric", (2,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)


def loss_of(ratio, advantage, value=0.0, target=0.0, entropy=0.0, **kwargs):
    logp = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    settings = {"clip": 0.2, "value_coef": 0.5, "entropy_coef": 0.01, **kwargs}
    loss = ppo_loss(
        logp, zero, zero + advantage, zero + value, zero + target, zero + entropy, **settings
    )
    loss.total.backward()
    return loss, logp.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "policy_loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # unclipped: -ratio * advantage, d/dlogp the same
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # moved far enough the right way: nothing more to gain
        (1.5, -2.0, 3.0, 3.0),  # moved far the wrong way: pulled back in full
        (0.5, -2.0, 1.6, 0.0),
        (0.5, 2.0, -1.0, -1.0),
    ],
)
def test_clipped_surrogate_and_its_gradient(ratio, advantage, policy_loss, gradient):
    loss, found = loss_of(ratio, advantage)
    assert loss.policy.item() == pytest.approx(policy_loss)
    assert found == pytest.approx(gradient)
    assert loss.clip_fraction.item() == float(abs(ratio - 1) > 0.2)


def test_total_adds_value_error_and_takes_off_entropy():
    loss, _ = loss_of(1.0, 0.0, value=1.0, target=3.0, entropy=0.7)
    assert loss.value.item() == pytest.approx(2.0)
    assert loss.total.item() == pytest.approx(0.5 * 2.0 - 0.01 * 0.7)
    assert loss.kl.item() == pytest.approx(0.0)


def test_gradient_of_the_whole_loss_agrees_with_finite_differences():
    torch.manual_seed(0)
    network = ActorCritic(SPACES, (4,), "tanh", True, torch.Generator().manual_seed(0)).double()
    flat = flatten_parameters(network)
    seen, actions = torch.randn(6, 2).double(), torch.randint(2, (6,))
    old, advantages, returns = (torch.randn(3, 6).double() * 0.3).unbind()

    def total():
        logp, entropy, values = network.evaluate(seen, actions)
        coefficients = {"clip": 0.2, "value_coef": 0.5, "entropy_coef": 0.1}
        return ppo_loss(logp, old - 0.7, advantages, values, returns, entropy, **coefficients).total

    total().backward()
    for index in range(0, flat.numel(), 3):
        with torch.no_grad():
            flat[index] += 1e-6
            above = total()
            flat[index] -= 2e-6
            below = total()
            flat[index] += 1e-6
        assert flat.grad[index].item() == pytest.approx((above - below).item() / 2e-6, abs=1e-6)


def fragment(steps=8, count=2, seed=0, ends=(), gaps=()):
    generator = np.random.default_rng(seed)
    rows = Rows.allocate(steps, count, SPACES)
    rows.observations[...] = generator.normal(size=rows.observations.shape)
    rows.actions[...] = generator.integers(0, 2, (steps, count))
    rows.logp[...] = math.log(0.5)
    rows.rewards[...] = rows.actions  # action 1 pays
    rows.valid[...] = True
    for t, b in ends:
        rows.truncated[t, b] = True
    for t, b in gaps:
        rows.valid[t, b] = False
    return Fragment(rows, Episodes(np.zeros(0), np.zeros(0, np.int64)), 0, 0.0, 0.0)


def test_join_puts_samplers_side_by_side_and_cuts_where_a_row_is_no_transition():
    parts = [
        fragment(seed=1, ends=[(3, 1)], gaps=[(4, 1)]),
        fragment(seed=2, gaps=[(0, 0), (5, 1)]),
    ]
    rollout = join(parts, SPACES.observation)
    features = rollout.features.reshape(9, 4, 2)
    np.testing.assert_array_equal(features[:, 2:], parts[1].rows.observations)
    assert np.argwhere(~rollout.valid).tolist() == [[0, 2], [4, 1], [5, 3]]
    assert np.argwhere(rollout.cut).tolist() == [[3, 1], [4, 3]]
    assert not parts[1].rows.truncated.any()  # the sampler's own rows stay as they are


def test_what_is_no_transition_is_not_learnt_from():
    learner = PPOConfig(name="ppo").make_learner(SPACES, 3, 1)
    one = fragment(ends=[(2, 0)], gaps=[(3, 0)])
    metrics = learner.update(0.0, one)
    assert metrics["frames"] == 15 * 10
    other = PPOConfig(name="ppo").make_learner(SPACES, 3, 1)
    one.rows.actions[3, 0] ^= 1
    one.rows.logp[3, 0] = -9.0
    other.update(0.0, one)
    for name, array in learner.state().model.items():
        np.testing.assert_array_equal(array, other.state().model[name])


@pytest.mark.parametrize("share_torso", [False, True])
def test_updates_make_rewarded_actions_likelier_and_restore_goes_on_exactly(share_torso):
    config = PPOConfig(
        name="ppo",
        learning_rate=1e-2,
        minibatch_size=8,
        epochs=2,
        share_torso=share_torso,
        normalize_returns=True,
        gamma=0.0,
    )
    learner = config.make_learner(SPACES, 3, 1)
    first = learner.update(0.0, fragment())
    twin = config.make_learner(SPACES, 99, 1)
    twin.restore(learner.state())
    for index in range(5):
        for one in (learner, twin):
            last = one.update(0.0, fragment(seed=index))
    assert last["gradient_steps"] == 2 * 2 and first["policy_loss"] > last["policy_loss"]
    for name, array in learner.state().model.items():
        np.testing.assert_array_equal(array, twin.state().model[name])
    assert learner.weights().version == 6


def test_linear_schedule_and_early_end():
    config = PPOConfig(name="ppo", schedule="linear", target_kl=1e-9, epochs=4, minibatch_size=4)
    learner = config.make_learner(SPACES, 3, 1)
    metrics = learner.update(0.75, fragment())
    assert metrics["learning_rate"] == pytest.approx(0.25 * 3e-4)
    assert metrics["gradient_steps"] < 4 * 4


@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 40, 36), (84, 84, 3), (4, 42, 42)])
def test_convolutions_over_blocks_are_those_over_pixels(shape):
    generator = torch.Generator().manual_seed(0)
    torso = ImageTorso(shape, generator)
    torch.nn.init.normal_(torso.first.bias)
    images = torch.randint(0, 256, (5, *shape), dtype=torch.uint8, generator=generator)
    gradients = []
    for given in (images, images.float()):  # only bytes are taken in blocks, with a gradient
        torso.zero_grad()
        output = torso(given)
        with torch.no_grad():
            torch.testing.assert_close(torso(given), output)
        assert output.shape == (5, torso.width)
        output.square().sum().backward()
        gradients.append([output.detach(), *(p.grad.clone() for p in torso.parameters())])
    assert can_be_blocks(images) == (shape[0] != 84 and shape[-1] % 4 == 0)
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4 * float(slow.abs().max()))

"""GAE and V-trace against slow versions that follow the definitions sum by sum."""

import itertools

import numpy as np
import pytest
import torch

from covey.algorithms.estimators import gae, vtrace

TOLERANCE = {np.float32: 1e-7, np.float64: 1e-15}
"""Rounding of one operation."""


def slow_gae(rewards, values, next_values, terminated, truncated, gamma, lam):
    """The sum of discounted one-step errors up to the end of the episode, spelled out."""
    steps, count = rewards.shape
    advantages = np.zeros_like(rewards)
    for b in range(count):
        for start in range(steps):
            weight = 1.0
            for t in range(start, steps):
                following = 0.0 if terminated[t, b] else next_values[t, b]
                error = rewards[t, b] + gamma * following - values[t, b]
                advantages[start, b] += weight * error
                if terminated[t, b] or truncated[t, b]:
                    break
                weight *= gamma * lam
    return advantages


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_gae_equals_the_slow_version_with_terminations_and_truncations_anywhere(
    seed, dtype, gamma, lam
):
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(1, 40)), 6)
    rewards, values, next_values = generator.normal(size=(3, *shape)).astype(dtype)
    terminated, truncated = generator.random((2, *shape)) < 0.15
    arrays = (rewards, values, next_values, terminated, truncated)
    fast = gae(*map(torch.from_numpy, arrays), gamma, lam)
    exact = [a.astype(np.float64) if a.dtype != np.bool_ else a for a in arrays]
    slow = slow_gae(*exact, gamma, lam)
    assert fast.numpy().dtype == dtype
    np.testing.assert_allclose(fast.numpy(), slow, rtol=0, atol=TOLERANCE[dtype] * 100)


def test_termination_cuts_the_bootstrap_and_truncation_does_not():
    one, ten, yes, no = (torch.tensor([[x]]) for x in (1.0, 10.0, True, False))
    assert gae(one, one, ten, yes, no, 0.5, 0.9).item() == 1.0 - 1.0
    assert gae(one, one, ten, no, yes, 0.5, 0.9).item() == 1.0 + 5.0 - 1.0
    assert gae(one, one, ten, yes, yes, 0.5, 0.9).item() == 0.0


def test_lambda_one_gives_discounted_returns_and_a_right_value_gives_no_advantage():
    rewards = torch.ones(4, 1)
    flags = torch.zeros(4, 1, dtype=torch.bool)
    nothing = torch.zeros(4, 1)
    returns = gae(rewards, nothing, nothing, flags, flags, 0.5, 1.0)
    assert returns.flatten().tolist() == [1.875, 1.75, 1.5, 1.0]
    right = torch.full((4, 1), 2.0)
    assert gae(rewards, right, right, flags, flags, 0.5, 0.7).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype_and_leaves_its_arguments_alone(dtype):
    rewards, values, next_values = torch.randn(3, 5, 2, dtype=dtype).unbind()
    before = rewards.clone()
    flags = torch.zeros(5, 2, dtype=torch.bool)
    assert gae(rewards, values, next_values, flags, flags, 0.9, 0.9).dtype == dtype
    assert torch.equal(rewards, before)


def slow_vtrace(
    behaviour_logp,
    target_logp,
    rewards,
    values,
    next_values,
    terminated,
    truncated,
    gamma,
    rho_bar,
    c_bar,
):
    """The sum of eq. 1 of the paper, spelled out up to the end of the episode."""
    steps, count = rewards.shape
    ratios = np.exp(target_logp - behaviour_logp)
    targets, advantages = np.zeros_like(rewards), np.zeros_like(rewards)
    for b in range(count):
        for start in range(steps):
            weight = 1.0
            targets[start, b] = values[start, b]
            for t in range(start, steps):
                following = 0.0 if terminated[t, b] else next_values[t, b]
                error = rewards[t, b] + gamma * following - values[t, b]
                targets[start, b] += weight * min(rho_bar, ratios[t, b]) * error
                if terminated[t, b] or truncated[t, b]:
                    break
                weight *= gamma * min(c_bar, ratios[t, b])
        for t in range(steps):
            if terminated[t, b]:
                bootstrap = 0.0
            elif truncated[t, b] or t == steps - 1:
                bootstrap = next_values[t, b]
            else:
                bootstrap = targets[t + 1, b]
            error = rewards[t, b] + gamma * bootstrap - values[t, b]
            advantages[t, b] = min(rho_bar, ratios[t, b]) * error
    return targets, advantages


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("gamma", "rho_bar", "c_bar"), [(0.99, 1.0, 1.0), (1.0, 2.0, 0.5), (0.9, np.inf, np.inf)]
)
def test_vtrace_equals_the_slow_version(seed, dtype, gamma, rho_bar, c_bar):
    generator = np.random.default_rng(seed)
    shape = (int(generator.integers(1, 40)), 6)
    behaviour, target = generator.normal(scale=0.3, size=(2, *shape)).astype(dtype)
    rewards, values, next_values = generator.normal(size=(3, *shape)).astype(dtype)
    terminated, truncated = generator.random((2, *shape)) < 0.15
    arrays = (behaviour, target, rewards, values, next_values, terminated, truncated)
    fast = vtrace(*map(torch.from_numpy, arrays), gamma, rho_bar, c_bar)
    exact = [a.astype(np.float64) if a.dtype != np.bool_ else a for a in arrays]
    slow = slow_vtrace(*exact, gamma, rho_bar, c_bar)
    for ours, theirs in zip(fast, slow, strict=True):
        assert ours.numpy().dtype == dtype
        # Sums of 40 terms of either sign: rounding counts against the largest of them.
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=TOLERANCE[dtype] * 100)


def test_vtrace_on_policy_gives_n_step_returns():
    generator = np.random.default_rng(3)
    steps, gamma = 6, 0.9
    rewards = generator.normal(size=(steps, 2))
    values = generator.normal(size=(steps + 1, 2))
    ended = np.zeros((2, steps, 2), dtype=np.bool_)
    ended[0, 3, 0] = True  # terminated
    ended[1, 1, 1] = True  # truncated
    logp = generator.normal(size=(steps, 2))
    arrays = (logp, logp, rewards, values[:-1], values[1:], *ended)
    targets, advantages = vtrace(*map(torch.from_numpy, arrays), gamma)
    expected = np.empty((steps, 2))
    for b in range(2):
        following = values[steps, b]
        for t in reversed(range(steps)):
            if ended[0, t, b]:
                following = 0.0
            elif ended[1, t, b]:
                following = values[t + 1, b]
            following = expected[t, b] = rewards[t, b] + gamma * following
    np.testing.assert_allclose(targets.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(advantages.numpy(), expected - values[:-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rho_bar", "fixed_point"), [(1.0, 25 / 3), (1.8, 9.0), (5.0, 9.0)], ids=str
)
@pytest.mark.parametrize("c_bar", [0.2, 1.0])
def test_vtrace_learns_the_value_of_the_policy_that_rho_bar_allows(rho_bar, fixed_point, c_bar):
    """One state, two actions with reward 1 and 0. Acting (.5, .5) has value 5, the target (.9, .1)
    has 9; weights of at most 1 allow no more than (5/6, 1/6). c_bar does not move the fixed point.
    """
    ways = np.array(list(itertools.product((0, 1), repeat=4))).T  # all equally likely: [T, B]
    behaviour = np.full(ways.shape, np.log(0.5))
    target = np.log(np.where(ways == 0, 0.9, 0.1))
    rewards = (ways == 0).astype(np.float64)
    never = np.zeros(ways.shape, dtype=np.bool_)
    value = 0.0
    for _ in range(300):
        values = np.full(ways.shape, value)
        arrays = (behaviour, target, rewards, values, values, never, never)
        targets, _ = vtrace(*map(torch.from_numpy, arrays), 0.9, rho_bar, c_bar)
        value = targets[0].mean().item()
    assert value == pytest.approx(fixed_point, abs=1e-6)


def test_results_carry_no_gradient():
    logp, rewards, values = torch.randn(3, 5, 2, requires_grad=True).unbind()
    flags = torch.zeros(5, 2, dtype=torch.bool)
    advantages = gae(rewards, values, values, flags, flags, 0.9, 0.9)
    found = vtrace(logp, logp, rewards, values, values, flags, flags, 0.9)
    assert not any(tensor.requires_grad for tensor in (advantages, *found))

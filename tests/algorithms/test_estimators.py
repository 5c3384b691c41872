"""GAE against a slow version that follows the definition sum by sum."""

import numpy as np
import pytest
import torch

from covey.algorithms.estimators import gae


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
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_equals_the_slow_version_with_terminations_and_truncations_anywhere(seed, gamma, lam):
    generator = np.random.default_rng(seed)
    shape = (17, 6)
    rewards, values, next_values = generator.normal(size=(3, *shape))
    terminated, truncated = generator.random((2, *shape)) < 0.15
    fast = gae(
        *map(torch.from_numpy, (rewards, values, next_values, terminated, truncated)), gamma, lam
    )
    slow = slow_gae(rewards, values, next_values, terminated, truncated, gamma, lam)
    np.testing.assert_allclose(fast.numpy(), slow, rtol=1e-12, atol=1e-12)


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

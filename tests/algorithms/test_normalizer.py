"""Running statistics against numpy's over everything at once."""

import numpy as np

from covey.algorithms.normalizer import RewardScaler, RunningMoments


def test_moments_equal_numpys_over_all_rows():
    rows = np.random.default_rng(0).normal(3.0, 5.0, size=(1000, 4)).astype(np.float32)
    moments = RunningMoments(4)
    for piece in np.split(rows, [1, 10, 11, 500]):
        moments.update(piece)
    moments.update(rows[:0])
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(moments.scale, 1 / rows.std(axis=0), rtol=1e-5)
    assert moments.count == 1000


def test_nothing_seen_changes_nothing():
    assert RunningMoments(2).scale.tolist() == [1 / np.sqrt(1 + 1e-8)] * 2


def flags(count):
    """No episode ends, and every row is a transition."""
    return np.zeros((4, count), bool), np.ones((4, count), bool)


def test_rewards_are_scaled_by_the_deviation_of_discounted_returns_across_fragments():
    generator = np.random.default_rng(1)
    rewards = generator.normal(size=(40, 3)).astype(np.float32)
    ended = generator.random((40, 3)) < 0.1
    valid = np.ones((40, 3), bool)
    valid[1:] = ~ended[:-1]
    rewards[~valid] = 0
    ended &= valid
    returns, running = [], np.zeros(3)
    for t in range(40):
        running = running * 0.9 + rewards[t]
        returns.extend(running[valid[t]])
        running = np.where(ended[t], 0.0, running)
    scaler = RewardScaler(0.9)
    scaler.scale(rewards[:25], ended[:25], valid[:25])
    resumed = RewardScaler(0.9)
    resumed.restore(scaler.state())
    scaled = resumed.scale(rewards[25:], ended[25:], valid[25:])
    np.testing.assert_allclose(scaled, rewards[25:] / np.std(returns), rtol=1e-4)


def test_a_resume_with_other_environments_starts_their_returns_at_zero():
    scaler = RewardScaler(0.9)
    scaler.scale(np.ones((4, 3), np.float32), *flags(3))
    assert scaler.scale(np.ones((4, 2), np.float32), *flags(2)).shape == (4, 2)

"""Running statistics that bring observations and rewards to a common scale. Only a learner updates
them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OBSERVATION_LIMIT = 10.0
"""Normalised observations are clipped to this many standard deviations."""
REWARD_LIMIT = 10.0
"""The same for rewards."""

Floats = NDArray[np.float64]


class RunningMoments:
    """Mean and variance of all rows seen so far, in float64 (Chan et al. 1983, pairwise update)."""

    def __init__(self, width: int) -> None:
        self.mean = np.zeros(width)
        self.variance = np.ones(width)
        self.count = 0.0

    def update(self, rows: NDArray[Any]) -> None:
        """Take in rows [N, width]."""
        added = len(rows)
        if added == 0:
            return
        mean = rows.mean(axis=0, dtype=np.float64)
        variance = rows.var(axis=0, dtype=np.float64)
        total = self.count + added
        shift = mean - self.mean
        spread = self.variance * self.count + variance * added
        self.variance = (spread + np.square(shift) * (self.count * added / total)) / total
        self.mean = self.mean + shift * (added / total)
        self.count = total

    @property
    def scale(self) -> Floats:
        """What to multiply by to get a variance of one."""
        scale: Floats = 1.0 / np.sqrt(self.variance + 1e-8)
        return scale

    def state(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays that `restore` takes."""
        return {
            f"{name}.mean": self.mean,
            f"{name}.variance": self.variance,
            f"{name}.count": np.array([self.count]),
        }

    def restore(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        self.mean = np.array(arrays[f"{name}.mean"])
        self.variance = np.array(arrays[f"{name}.variance"])
        self.count = float(arrays[f"{name}.count"][0])


class RewardScaler:
    """Divides rewards by the standard deviation of the discounted return so far, per environment.

    The mean is left in: taking it out would change which policy is best.
    """

    def __init__(self, gamma: float) -> None:
        self._gamma = gamma
        self._moments = RunningMoments(1)
        self._discounted: Floats = np.zeros(0)

    def scale(
        self, rewards: NDArray[np.float32], ended: NDArray[np.bool_], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Take in rewards [T, B] that follow those before; return them scaled and clipped."""
        steps, count = rewards.shape
        if len(self._discounted) != count:  # the first call, or resumed with other ones
            self._discounted = np.zeros(count)
        returns = np.empty((steps, count))
        running = self._discounted
        for t in range(steps):
            running = running * self._gamma + rewards[t]
            returns[t] = running
            running = running * ~ended[t]
        self._discounted = running
        self._moments.update(returns[valid].reshape(-1, 1))
        scaled: NDArray[np.float32] = rewards * np.float32(self._moments.scale[0])
        return scaled.clip(-REWARD_LIMIT, REWARD_LIMIT)

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._moments.state("returns"), "returns.discounted": self._discounted}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._moments.restore("returns", arrays)
        self._discounted = np.array(arrays["returns.discounted"])

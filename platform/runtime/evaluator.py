"""Measures a snapshot of the weights with the policy's most likely actions, beside the training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.fragment import Weights
from covey.platform.runtime.interfaces import ActingPolicy, Environments
from covey.platform.runtime.threads import one_blas_thread


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted raw returns and lengths of whole episodes played with weights `version`."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    version: int


class Evaluator:
    """The same class inline or as a Ray actor. The training's random numbers stay untouched."""

    def __init__(
        self,
        make_environments: Callable[[], Environments],
        make_policy: Callable[[], ActingPolicy],
    ) -> None:
        one_blas_thread()
        self._make_environments = make_environments
        self._policy = make_policy()

    def evaluate(self, weights: Weights, episodes: int) -> Evaluation:
        """Play that many whole episodes: the same ones each time.

        Each environment plays a share that is fixed beforehand; taking the first to finish would
        favour short episodes.
        """
        environments = self._make_environments()
        try:
            return self._play(environments, weights, episodes)
        finally:
            environments.close()

    def _play(self, environments: Environments, weights: Weights, episodes: int) -> Evaluation:
        self._policy.load(weights.arrays)
        count = environments.count
        seen = environments.spaces.observation
        observations = np.zeros((count, *seen.shape), dtype=seen.dtype)
        rewards = np.empty(count, dtype=np.float32)
        terminated, truncated, valid = (np.empty(count, dtype=np.bool_) for _ in range(3))
        to_play = np.array([len(range(b, episodes, count)) for b in range(count)])
        so_far, length = np.zeros(count), np.zeros(count, dtype=np.int64)
        returns: list[float] = []
        lengths: list[int] = []
        environments.reset(observations)
        while to_play.any():
            actions = self._policy.best(observations)
            environments.step(actions, observations, rewards, terminated, truncated, valid)
            so_far += rewards
            length += valid
            for b in np.flatnonzero(terminated | truncated):
                if to_play[b]:
                    returns.append(float(so_far[b]))
                    lengths.append(int(length[b]))
                    to_play[b] -= 1
            over = terminated | truncated | ~valid  # a failed environment ends without a flag
            so_far[over], length[over] = 0.0, 0
        return Evaluation(np.array(returns), np.array(lengths, dtype=np.int64), weights.version)

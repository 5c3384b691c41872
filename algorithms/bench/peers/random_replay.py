"""Transitions drawn at random, of an environment's shapes: how fast updates are depends on nothing
else.
"""

from typing import Any

import gymnasium
import numpy as np


class Shapes(gymnasium.Env[Any, Any]):
    """An environment of these shapes that nobody steps."""

    def __init__(self, seen: int, acted: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (seen,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (acted,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return np.zeros(self.observation_space.shape or 0, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(self.observation_space.shape or 0, np.float32), 0.0, False, False, {}


def transitions(count: int, seen: int, acted: int) -> dict[str, Any]:
    """observations [count + 1, seen], actions [count, acted] in [-1, 1] and rewards [count]."""
    drawn = np.random.default_rng(0)
    return {
        "observations": drawn.standard_normal((count + 1, seen), dtype=np.float32),
        "actions": drawn.uniform(-1, 1, (count, acted)).astype(np.float32),
        "rewards": drawn.standard_normal(count, dtype=np.float32),
    }

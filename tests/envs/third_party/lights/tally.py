"""An environment with a batched form of its own; importing this module registers it."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from lights.world import Count

OBSERVATION = Box(0, np.inf, (1,), np.float32)
ACTION = Discrete(3)


class Tally(VectorEnv):
    """Counts steps; environment i ends after `lengths[i]`. Action 2 breaks all of them."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs: int = 1, lengths: Any = (5, 5)) -> None:
        self.num_envs = num_envs
        self.lengths = np.array(lengths[:num_envs])
        self.single_observation_space, self.single_action_space = OBSERVATION, ACTION
        self.observation_space = batch_space(OBSERVATION, num_envs)
        self.action_space = batch_space(ACTION, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.steps = np.zeros(self.num_envs, dtype=np.int64)
        self.over = np.zeros(self.num_envs, dtype=bool)
        return self.seen(), {}

    def seen(self) -> Any:
        return self.steps[:, None].astype(np.float32)

    def step(self, actions: Any) -> Any:
        if (actions == 2).any():
            raise RuntimeError("abacus fell over")
        began = self.over
        self.steps = np.where(began, 0, self.steps + 1)
        self.over = self.steps == self.lengths
        rewards = np.where(began, 0.0, 1.0)
        return self.seen(), rewards, self.over.copy(), np.zeros_like(self.over), {}


class SameStepTally(Tally):
    """One that resets in a way that rows do not."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}


class NotedCount(Count):
    """The single form; `lengths[0]` is its length, and it takes a note."""

    action_space = ACTION

    def __init__(self, lengths: Any = (5,), note: str = "") -> None:
        super().__init__(lengths[0])


gymnasium.register("Tally-v0", NotedCount, vector_entry_point=Tally)
gymnasium.register("SameStep-v0", NotedCount, vector_entry_point=SameStepTally)

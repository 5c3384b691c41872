"""Parallel environments with known answers, in PettingZoo's form."""

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete


class Crowd:
    """Agent i shows [steps taken, i] and earns its action; it leaves after `stays[i]` steps, and
    enters after `enters[i]`. Even ones terminate, odd ones are truncated.

    Action 2 of anybody breaks it.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "crowd_v0"}

    def __init__(self, stays: Any = (2, 4, 3), enters: Any = (0, 0, 0), alike: bool = True) -> None:
        self.stays, self.enters, self.alike = stays, enters, alike
        self.possible_agents = [f"walker_{i}" for i in range(len(stays))]
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Any:
        other = not self.alike and agent != "walker_0"
        return Box(0, np.inf, (2,), np.float64 if other else np.float32)

    def action_space(self, agent: str) -> Any:
        return Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        self.agents = [a for a, n in zip(self.possible_agents, self.enters, strict=True) if n == 0]
        self.noise = float(np.random.default_rng(seed).random())
        return self.seen(self.agents), {agent: {} for agent in self.agents}

    def seen(self, agents: list[str]) -> Any:
        return {a: np.array([self.steps + self.noise, int(a[-1])], np.float32) for a in agents}

    def step(self, actions: Any) -> Any:
        assert set(actions) == set(self.agents), "actions for those who are there"
        if 2 in actions.values():
            raise RuntimeError("too crowded")
        self.steps += 1
        took_part = list(self.agents)
        leaving = {a: self.steps == self.stays[int(a[-1])] for a in took_part}
        entering = [f"walker_{i}" for i, n in enumerate(self.enters) if n and n == self.steps]
        self.agents = [a for a in took_part if not leaving[a]] + entering
        return (
            self.seen(took_part + entering),
            {a: float(actions[a]) for a in took_part} | dict.fromkeys(entering, 0.0),
            {a: leaving[a] and int(a[-1]) % 2 == 0 for a in took_part}
            | dict.fromkeys(entering, False),
            {a: leaving[a] and int(a[-1]) % 2 == 1 for a in took_part}
            | dict.fromkeys(entering, False),
            {a: {} for a in took_part + entering},
        )

    def close(self) -> None:
        pass


class Calm(Crowd):
    """Nobody can break it."""

    def action_space(self, agent: str) -> Any:
        return Discrete(2)


parallel_env = Crowd
calm_env = Calm


def not_an_environment() -> int:
    return 3

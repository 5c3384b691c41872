"""Somebody else's environments with known answers; importing this module registers them."""

import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

LIGHTS = 3


class Follow(gymnasium.Env):
    """Shows one of three lights; naming it earns 1, so a perfect episode of ten steps earns 10."""

    observation_space = Discrete(LIGHTS)
    action_space = Discrete(LIGHTS, start=1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.light = int(self.np_random.integers(LIGHTS))
        return self.light, {}

    def step(self, action: int) -> Any:
        reward = float(action - 1 == self.light)
        self.light = int(self.np_random.integers(LIGHTS))
        return self.light, reward, False, False, {}


class Count(gymnasium.Env):
    """Shows how many steps were taken; each earns 1; ends after `length` steps as asked for."""

    observation_space = Box(0, np.inf, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length: int = 5, ending: str = "terminated") -> None:
        self.length = length
        self.ending = ending

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self) -> Any:
        return np.array([self.steps], dtype=np.float32)

    def step(self, action: int) -> Any:
        self.steps += 1
        over = self.steps == self.length
        terminated = over and self.ending in ("terminated", "both")
        return self.seen(), 1.0, terminated, over and self.ending in ("truncated", "both"), {}


class Noisy(Count):
    """Its steps carry noise from a generator that `reset` seeds only if `seeded`."""

    def __init__(self, seeded: bool, length: int = 7) -> None:
        super().__init__(length)
        self.seeded = seeded
        self.hidden = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if self.seeded:
            self.hidden = np.random.default_rng(seed)
        return super().reset(seed=seed)

    def seen(self) -> Any:
        return np.array([self.steps + self.hidden.random()], dtype=np.float32)


class Faulty(Count):
    """Goes wrong in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(length=100)
        self.fault = fault
        if fault == "make":
            raise RuntimeError("no power")
        if fault == "space":
            self.observation_space = Dict({"light": Discrete(2)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if self.fault == "reset":
            raise RuntimeError("lamp broken")
        return super().reset(seed=seed)

    def step(self, action: int) -> Any:
        _, reward, *flags = super().step(action)
        if self.fault == "step" and self.steps == 3:
            raise RuntimeError("lamp broken")
        seen = {
            "shape": np.zeros(2, dtype=np.float32),
            "dtype": np.zeros(1, dtype=np.complex64),
            "nan": np.array([np.nan], dtype=np.float32),
        }.get(self.fault, self.seen())
        return seen, np.inf if self.fault == "reward" else reward, *flags


class Fragile(Count):
    """Raises when told to by action 2, and at its resets numbered in `bad_resets`, from 1."""

    action_space = Discrete(3)

    def __init__(self, length: int = 100, bad_resets: tuple[int, ...] = ()) -> None:
        super().__init__(length)
        self.bad_resets = bad_resets
        self.resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.resets += 1
        if self.resets in self.bad_resets:
            raise RuntimeError("lamp broken")
        return super().reset(seed=seed)

    def step(self, action: int) -> Any:
        if action == 2:
            raise RuntimeError("lamp broken")
        return super().step(action)


class Stuck(Count):
    """Whoever is the first to make the file `mark` never comes back from its third step."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = Path(mark)

    def step(self, action: int) -> Any:
        if self.steps == 2 and not self.mark.exists():
            self.mark.touch()
            time.sleep(3600)
        return super().step(action)


gymnasium.register("Fragile-v0", Fragile)
gymnasium.register("Stuck-v0", Stuck)
gymnasium.register("Plain", Count)
gymnasium.register("Follow-v0", Follow, max_episode_steps=10)
gymnasium.register("Count-v0", Count)
gymnasium.register("Noisy-v0", Noisy)
gymnasium.register("Faulty-v0", Faulty)

"""The environments that every peer steps, made alike for all."""

from typing import Any

import ale_py
import gymnasium
import numpy as np

gymnasium.register_envs(ale_py)


def is_atari(env_id: str) -> bool:
    """Whether it is shown as images, channels first, uint8."""
    return env_id.startswith("ALE/")


def make_env(env_id: str) -> gymnasium.Env[Any, Any]:
    """One environment, without the checks that Gymnasium makes for its developers."""
    if is_atari(env_id):
        return Game(env_id)
    return gymnasium.make(env_id, disable_env_checker=True)


def make_batched(env_id: str, count: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """The environment's own form for many at once, in one thread; Gymnasium's error if it has
    none.
    """
    arguments: dict[str, Any] = {"num_threads": 1} if is_atari(env_id) else {}
    return gymnasium.make_vec(
        env_id, num_envs=count, vectorization_mode="vector_entry_point", **arguments
    )


class Game(gymnasium.Env[Any, Any]):
    """One game of ale_py's batched form, which scales and stacks its four pictures in C++: faster
    than Gymnasium's wrappers, and the same for everybody.
    """

    def __init__(self, env_id: str) -> None:
        self._games = make_batched(env_id, 1)
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        seen, _ = self._games.reset(seed=seed)
        return seen[0].copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, rewards, terminated, truncated, _ = self._games.step(np.array([action]))
        return seen[0].copy(), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def close(self) -> None:
        self._games.close()

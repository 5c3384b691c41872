"""The environments that every peer steps, made alike for all."""

from collections.abc import Mapping
from typing import Any

import gymnasium

STACKED = 4
SIDE = 84


def is_atari(env_id: str) -> bool:
    """Whether it is shown as images: STACKED x SIDE x SIDE, uint8."""
    return env_id.startswith("ALE/")


def make_env(env_id: str) -> gymnasium.Env[Any, Any]:
    """One environment, without the checks that Gymnasium makes for its developers."""
    if not is_atari(env_id):
        return gymnasium.make(env_id, disable_env_checker=True)
    _register_atari()
    env = gymnasium.make(env_id, disable_env_checker=True, frameskip=1)
    small = gymnasium.wrappers.AtariPreprocessing(env, screen_size=SIDE)
    return gymnasium.wrappers.FrameStackObservation(small, STACKED)


def make_batched(env_id: str, count: int) -> gymnasium.vector.VectorEnv[Any, Any, Any] | None:
    """The environment's own form for many at once, in one thread; None if it has none."""
    if is_atari(env_id):
        _register_atari()
    if gymnasium.spec(env_id).vector_entry_point is None:
        return None
    arguments: Mapping[str, Any] = {"num_threads": 1} if is_atari(env_id) else {}
    return gymnasium.make_vec(
        env_id, num_envs=count, vectorization_mode="vector_entry_point", **arguments
    )


def _register_atari() -> None:
    import ale_py

    gymnasium.register_envs(ale_py)

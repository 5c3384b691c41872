"""Our environments as RLlib's networks take them: numbers in, actions that count from 0."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from covey.envs.make import EnvSource, described, make_env
from covey.envs.spaces import describe_spaces
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import Spaces


class RllibEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Categorical observations become one-hot rows; what fails is a UserError that names the
    environment.
    """

    def __init__(self, source: EnvSource) -> None:
        env = make_env(source)
        super().__init__(env)
        self._source = source
        self.described_spaces = describe_spaces(env, str(source))
        observed, taken = network_spaces(self.described_spaces)
        self._encodes = self.described_spaces.observation.kind == "categorical"
        self.observation_space = observed if self._encodes else env.observation_space
        self.action_space = taken if isinstance(taken, Discrete) else env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        try:
            seen, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise UserError(f"{self._source}: reset failed: {described(error)}") from error
        return self._encoded(seen), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        taken = self.described_spaces.action
        if taken.kind == "discrete":
            action = int(action) + taken.start
        try:
            seen, reward, terminated, truncated, info = self.env.step(action)
        except Exception as error:
            raise UserError(f"{self._source}: step failed: {described(error)}") from error
        return self._encoded(seen), float(reward), bool(terminated), bool(truncated), info

    def _encoded(self, seen: Any) -> Any:
        return encode(self.described_spaces, np.asarray(seen)[None])[0] if self._encodes else seen


def encode(spaces: Spaces, observations: NDArray[Any]) -> NDArray[Any]:
    """Raw observations [B, ...] as the networks see them [B, ...]."""
    if spaces.observation.kind == "categorical":
        return spaces.observation.encode(observations)
    return observations


def network_spaces(spaces: Spaces) -> tuple[Box, "Discrete[Any] | Box"]:
    """The spaces that RLlib builds networks for: shapes, types and the bounds of actions."""
    seen, taken = spaces.observation, spaces.action
    if seen.kind == "categorical":
        observed = Box(0.0, 1.0, (seen.width,), np.float32)
    else:
        dtype = np.dtype(seen.dtype)
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else _whole_range(dtype)
        observed = Box(low, high, seen.shape, dtype.type)
    if taken.kind == "discrete":
        return observed, Discrete(taken.choices)
    low_bound, high_bound = (
        np.array([sign * np.inf if bound is None else bound for bound in bounds], taken.dtype)
        for sign, bounds in ((-1, taken.low), (1, taken.high))
    )
    shape = taken.shape
    kind = np.dtype(taken.dtype).type
    return observed, Box(low_bound.reshape(shape), high_bound.reshape(shape), shape, kind)


def _whole_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)

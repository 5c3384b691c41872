"""Gymnasium's spaces as the plain records that the rest of Covey works with."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces


def describe_spaces(env: gymnasium.Env[Any, Any], name: str) -> Spaces:
    """Both spaces of an environment. Raises UserError, beginning with `name`, for kinds not
    supported.
    """
    return Spaces(
        describe_observation(env.observation_space, name), describe_action(env.action_space, name)
    )


def describe_observation(space: gymnasium.Space[Any], name: str) -> ObservationSpec:
    if isinstance(space, Box):
        return ObservationSpec("numeric", tuple(space.shape), str(space.dtype))
    if isinstance(space, MultiBinary):
        return ObservationSpec("numeric", tuple(space.shape), str(space.dtype))
    if isinstance(space, Discrete) and space.start == 0:
        return ObservationSpec("categorical", (), "int64", (int(space.n),))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return ObservationSpec(
            "categorical", tuple(space.shape), "int64", tuple(map(int, space.nvec))
        )
    if isinstance(space, Discrete | MultiDiscrete):
        raise UserError(f"{name}: observation space {space}: its values must count from 0 in a row")
    raise UserError(
        f"{name}: observation space {space} is not supported (Box, Discrete, MultiDiscrete and "
        "MultiBinary are); gymnasium.wrappers.FlattenObservation makes a Box of Dict and Tuple"
    )


def describe_action(space: gymnasium.Space[Any], name: str) -> ActionSpec:
    if isinstance(space, Discrete):
        return ActionSpec("discrete", (), "int64", choices=int(space.n), start=int(space.start))
    if isinstance(space, Box) and np.dtype(space.dtype).kind == "f":
        return ActionSpec(
            "continuous",
            tuple(space.shape),
            str(space.dtype),
            low=finite_or_none(space.low),
            high=finite_or_none(space.high),
        )
    raise UserError(f"{name}: action space {space} is not supported (Discrete and float Box are)")


def finite_or_none(bounds: Any) -> tuple[float | None, ...]:
    """Bounds as JSON can hold them: infinity is None."""
    return tuple(float(bound) if np.isfinite(bound) else None for bound in bounds.ravel())

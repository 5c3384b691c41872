"""Makes of a policy's actions what single environments take, one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.spaces import ActionSpec

Convert = Callable[[NDArray[Any]], Sequence[Any] | NDArray[Any]]


def conversion(spec: ActionSpec) -> Convert:
    """`spec.to_environment` for rows of few columns, where each call into numpy counts: actions
    [B, ...] as something that holds B.
    """
    if spec.kind == "discrete":
        start = spec.start
        # Plain integers: Gymnasium checks them several times faster than numpy's.
        if start == 0:
            return np.ndarray.tolist
        return lambda actions: [start + action for action in actions.tolist()]
    dtype = np.dtype(spec.dtype)
    low = np.array([-np.inf if bound is None else bound for bound in spec.low], dtype)
    high = np.array([np.inf if bound is None else bound for bound in spec.high], dtype)
    flat = spec.shape == (spec.width,)

    def clipped(actions: NDArray[Any]) -> NDArray[Any]:
        # Compared in the environment's own precision; never in place: actions belong to the policy,
        # and an environment may keep what it gets.
        inside: NDArray[Any] = np.minimum(np.maximum(actions, low, dtype=dtype), high)
        return inside if flat else np.reshape(inside, (len(actions), *spec.shape))

    return clipped

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
    whole: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    def clipped(actions: NDArray[Any]) -> NDArray[Any]:
        count = len(actions)
        if count not in whole:
            # As large as the actions: numpy would spend more on spreading bounds than on comparing.
            whole[count] = np.tile(low, (count, 1)), np.tile(high, (count, 1))
        least, most = whole[count]
        # In the environment's own precision: a bound rounded to float32 may lie outside. Never in
        # place: actions belong to the policy, and an environment may keep what it gets.
        exact = actions if actions.dtype is dtype else actions.astype(dtype)
        # Not by minimum and maximum: measured with Pendulum-v1 on an Intel processor, every step of
        # an environment after them takes 5 % longer.
        inside = exact.clip(least, most)
        return inside if flat else np.reshape(inside, (count, *spec.shape))

    return clipped

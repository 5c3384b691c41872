"""Holds an environment to the observation space that it declares."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ObservationSpec


def as_declared(seen: Any, declared: ObservationSpec, name: object) -> NDArray[Any]:
    """An observation as an array of the declared shape and dtype.

    Raises UserError beginning with `name` if it has another shape or loses its kind of number.
    """
    array = np.asarray(seen)
    dtype = np.dtype(declared.dtype)
    if array.shape != declared.shape:
        raise UserError(
            f"{name}: an observation has shape {array.shape}, "
            f"its observation_space declares {declared.shape}"
        )
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise UserError(
            f"{name}: an observation has dtype {array.dtype}, "
            f"its observation_space declares {dtype}"
        )
    return array.astype(dtype, copy=False)

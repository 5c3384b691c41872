"""What RLlib's learners keep outside their networks and optimisers, and leave out of checkpoints.

SAC's temperature, the KL coefficient of PPO and APPO, MARWIL's moving average: without them a
resumed run would fall back to where it began.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def read_variables(learner_group: Any) -> dict[str, NDArray[Any]]:
    """Copies of the variables of the first learner, all of which are alike."""
    found: dict[str, NDArray[Any]] = next(iter(learner_group.foreach_learner(copied))).get()
    return found


def write_variables(learner_group: Any, arrays: Arrays) -> None:
    """Set the variables of every learner in place, so that its optimisers go on with them."""
    for outcome in learner_group.foreach_learner(partial(overwrite, arrays=arrays)):
        outcome.get()


def copied(learner: Any) -> dict[str, NDArray[Any]]:
    """A learner's variables by "attribute.module"."""
    return {
        f"{name}.{module}": np.array(variable.detach().cpu().numpy())
        for name, held in _held(learner)
        for module, variable in held.items()
    }


def overwrite(learner: Any, arrays: Arrays) -> None:
    """The inverse of `copied`, into a learner of the same kind."""
    import torch

    for key, array in arrays.items():
        name, _, module = key.partition(".")
        getattr(learner, name)[module].data.copy_(torch.from_numpy(np.array(array)))


def _held(learner: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """RLlib keeps such variables in dictionaries that make them on first use."""
    import torch
    from ray.rllib.utils.lambda_defaultdict import LambdaDefaultDict

    for name, held in vars(learner).items():
        if isinstance(held, LambdaDefaultDict):
            tensors = {k: v for k, v in held.items() if isinstance(v, torch.Tensor)}
            yield name, tensors

"""Joins the fragments of all samplers into the arrays that an on-policy learner works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.runtime.fragment import Fragment
from covey.platform.runtime.spaces import ObservationSpec


@dataclass(frozen=True)
class Rollout:
    """T steps of all B columns, samplers side by side in order.

    `features` are encoded observations [(T+1) * B, ...], the last B follow the last step: one
    forward pass gives the values of all states and of all that they led to. `cut` [T, B] is where a
    recursion over time ends without a terminal state. Where `valid` is False there is nothing to
    learn from.
    """

    features: NDArray[Any]
    actions: NDArray[Any]
    logp: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def join(fragments: Sequence[Fragment], observation: ObservationSpec) -> Rollout:
    """Fragments of equal length T as one rollout."""

    def beside(name: str) -> NDArray[Any]:
        arrays = [getattr(fragment.rows, name) for fragment in fragments]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)

    seen, valid = beside("observations"), beside("valid")
    cut = beside("truncated").copy()
    # After an end comes a row that is no transition, and so it does after a sampler was replaced.
    cut[:-1] |= ~valid[1:]
    return Rollout(
        features=observation.encode(seen.reshape(-1, *observation.shape)),
        actions=beside("actions"),
        logp=beside("logp"),
        rewards=beside("rewards"),
        terminated=beside("terminated"),
        cut=cut,
        valid=valid,
    )

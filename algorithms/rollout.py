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
    """T steps of all B environments, samplers side by side in order.

    `features` are encoded observations: rows 0..T-1 flat [T*B, width], then the B that act next,
    then the K final ones of ended episodes, so that one forward pass gives every value that is
    needed.
    """

    features: NDArray[np.float32]
    actions: NDArray[Any]
    logp: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_steps: NDArray[np.int64]

    def next_values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """From the values of all features, those of the states that each step led to: [T, B]."""
        steps, count = self.rewards.shape
        following = values[count : (steps + 1) * count].copy()
        following[self.final_steps] = values[(steps + 1) * count :]
        return following.reshape(steps, count)


def join(fragments: Sequence[Fragment], observation: ObservationSpec) -> Rollout:
    """Fragments of equal length T as one rollout."""

    def beside(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(fragment, name) for fragment in fragments], axis=1)

    seen = beside("observations")
    finals = np.concatenate([fragment.final_observations for fragment in fragments])
    rows = np.concatenate([seen.reshape(-1, *observation.shape), finals])
    total = seen.shape[1]
    final_steps, first = [], 0
    for fragment in fragments:
        count = fragment.rewards.shape[1]
        t, b = np.divmod(fragment.final_steps, count)
        final_steps.append(t * total + first + b)
        first += count
    return Rollout(
        features=observation.encode(rows),
        actions=beside("actions"),
        logp=beside("logp"),
        rewards=beside("rewards"),
        terminated=beside("terminated"),
        truncated=beside("truncated"),
        final_steps=np.concatenate(final_steps),
    )

"""The acting form of a trained or training policy: the networks' weights in plain numpy.

For the handful of rows that a sampler has at a time this is several times faster than a torch
module, and a process that only acts never imports torch.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.algorithms.normalizer import OBSERVATION_LIMIT, RunningMoments
from covey.platform.runtime.spaces import Spaces

Rows = NDArray[np.float32]


class MlpPolicy:
    """`load` published weights, then `sample` or take the `best` actions for raw observations [B,
    ...].
    """

    def __init__(self, spaces: Spaces, activation: str) -> None:
        self._spaces = spaces
        self._tanh = activation == "tanh"
        self._layers: list[tuple[Rows, Rows]] = []
        self._normal: tuple[Rows, Rows] | None = None
        self._log_std = np.empty(0, dtype=np.float32)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over weights under the names of `networks.ActorCritic`, and `normalizer.*` if there
        are.
        """
        # Transposed once: the product reads its right side along rows.
        self._layers = [
            (np.ascontiguousarray(arrays[name].T), arrays[name.replace("weight", "bias")])
            for prefix in ("torso.", "actor.")
            for name in sorted(arrays, key=layer_number)
            if name.startswith(prefix) and name.endswith(".weight")
        ]
        if "normalizer.mean" in arrays:
            self._normal = (arrays["normalizer.mean"], arrays["normalizer.scale"])
        self._log_std = arrays.get("log_std", self._log_std)

    def sample(
        self, observations: NDArray[Any], generator: Generator
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        head = self._head(observations)
        if self._spaces.action.kind == "discrete":
            return sample_categorical(head, generator)
        return sample_gaussian(head, self._log_std, generator)

    def best(self, observations: NDArray[Any]) -> NDArray[Any]:
        head = self._head(observations)
        if self._spaces.action.kind == "discrete":
            chosen: NDArray[Any] = head.argmax(axis=1)
            return chosen
        return head

    def _head(self, observations: NDArray[Any]) -> Rows:
        rows = self._spaces.observation.encode(observations)
        if self._normal is not None:
            mean, scale = self._normal
            rows = ((rows - mean) * scale).clip(-OBSERVATION_LIMIT, OBSERVATION_LIMIT)
        for weight, bias in self._layers[:-1]:
            rows = rows @ weight
            rows += bias
            if self._tanh:
                np.tanh(rows, out=rows)
            else:
                np.maximum(rows, 0.0, out=rows)
        weight, bias = self._layers[-1]
        head: Rows = rows @ weight
        head += bias
        return head


def acting_arrays(
    model: Mapping[str, NDArray[Any]], observed: RunningMoments | None
) -> dict[str, NDArray[Any]]:
    """What `MlpPolicy.load` takes, of a network's weights and its normaliser, if it has one."""
    arrays = {name: array for name, array in model.items() if not name.startswith("critic.")}
    if observed is not None:
        arrays["normalizer.mean"] = observed.mean.astype(np.float32)
        arrays["normalizer.scale"] = observed.scale.astype(np.float32)
    return arrays


def layer_number(name: str) -> int:
    """The place of a parameter's layer in its stack: 2 for "actor.2.weight"."""
    parts = name.split(".")
    return int(parts[1]) if len(parts) == 3 else -1


def sample_categorical(
    logits: Rows, generator: Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Actions [B] drawn from softmax(logits [B, A]), and their log-probabilities [B]."""
    logits = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    cumulative = probabilities.cumsum(axis=1)
    total = cumulative[:, -1]
    drawn = generator.random(len(logits), dtype=np.float32) * total
    # Rounding may put `drawn` on the total: that is the last action.
    actions = np.minimum((cumulative <= drawn[:, None]).sum(axis=1), logits.shape[1] - 1)
    return actions, logits[np.arange(len(logits)), actions] - np.log(total)


def sample_gaussian(mean: Rows, log_std: Rows, generator: Generator) -> tuple[Rows, Rows]:
    """Actions [B, A] drawn from a diagonal normal distribution, and their log-probabilities [B]."""
    noise = generator.standard_normal(mean.shape, dtype=np.float32)
    constant = log_std.sum() + np.float32(0.5 * math.log(2 * math.pi) * len(log_std))
    logp = np.float32(-0.5) * np.square(noise).sum(axis=1) - constant
    return mean + noise * np.exp(log_std), logp

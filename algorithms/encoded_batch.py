"""A minibatch in the form that networks take: gathered straight into their input where the
observations are numbers, else encoded on the way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.replay import Batch, Floats
from covey.platform.runtime.spaces import ObservationSpec


class EncodedBatch:
    """`batch` is what a replay fills; `encode` then brings its observations to where they belong.

    `observations` and `next_observations` [N, width] are float32, or bytes for images; `numbers`:
    see `Batch.around`.
    """

    def __init__(
        self,
        seen: ObservationSpec,
        observations: NDArray[Any],
        actions: NDArray[Any],
        next_observations: NDArray[Any],
        numbers: Floats,
    ) -> None:
        self._seen = seen
        self._encoded = observations, next_observations
        self._raw = self._encoded
        if seen.kind == "categorical":
            first, second = (
                np.zeros((len(actions), len(seen.categories)), seen.dtype) for _ in range(2)
            )
            self._raw = first, second
        self.batch = Batch.around(self._raw[0], actions, self._raw[1], numbers)

    def encode(self) -> None:
        """After each `Replay.sample`."""
        if self._raw is not self._encoded:
            for encoded, raw in zip(self._encoded, self._raw, strict=True):
                encoded[:] = self._seen.encode(raw)

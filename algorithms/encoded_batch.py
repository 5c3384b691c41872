"""A minibatch in the form that networks take: gathered straight into their input where the
observations are numbers, else encoded on the way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.flat_mlp import whole, with_ones
from covey.algorithms.replay import Batch, Floats
from covey.platform.runtime.interfaces import Arrays
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


def room_for(seen: ObservationSpec, size: int, more: int = 0) -> Arrays:
    """Memory for a minibatch of N rows as networks take them.

    `rows` [2, N, ...], before and after the step, are an image's bytes, or numbers, a one, and so
    many `more` numbers; `numbers` [3, N]: see `Batch.around`; `errors` [N].
    """
    if seen.is_image:
        rows = np.zeros((2, size, seen.width), np.uint8)
    else:
        row = whole(with_ones(size, seen.width + more, ones_at=seen.width)).numpy()
        rows = np.stack([row, row])
    numbers, errors = np.ones((3, size), np.float32), np.zeros(size, np.float32)
    return {"rows": rows, "numbers": numbers, "errors": errors}

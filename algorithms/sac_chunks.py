"""A minibatch as SAC's gradients take it, cut into chunks, and memory for what is in between.

Shapes: N rows, S numbers of an observation, A of an action. An input row is [observation, 1,
action]: its first S+1 numbers are the actor's input, all are a critic's.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.flat_mlp import Pass
from covey.algorithms.sac_networks import CriticNetworks

Array = NDArray[np.float32]
CHUNK = 4096
"""At most so many rows. Fewer would stay in a core's cache, but read the weights more often: from
512 to 4096 rows, a minibatch of 8192 took a seventh less time.
"""


class Data(NamedTuple):
    """A minibatch, or rows of it: inputs [N, S+1+A] before and after the step, the rest [N, 1].

    The actor writes the next actions into `next_inputs` and their log-probabilities into
    `next_logp`, the critics write `errors`.
    """

    inputs: Tensor
    next_inputs: Tensor
    rewards: Array
    discounts: Array
    weights: Array
    next_logp: Array
    errors: Array

    def rows(self, first: int, last: int) -> "Data":
        """Views of the rows [first, last)."""
        parts: Any = (part[first:last] for part in self)  # each of its own kind
        return Data(*parts)


def chunks(rows: int) -> list[tuple[int, int]]:
    """Rows [0, rows) in pieces [first, last)."""
    pieces = -(-rows // CHUNK)
    cuts = [rows * k // pieces for k in range(pieces + 1)]
    return list(pairwise(cuts))


class Rooms:
    """Memory for the critics' passes over a chunk; chunks that follow each other share it."""

    def __init__(self, networks: CriticNetworks) -> None:
        self._networks = networks
        self._made: dict[int, tuple[Pass, Pass]] = {}

    def of(self, rows: int) -> tuple[Pass, Pass]:
        """Of both critics, or both targets."""
        if rows not in self._made:
            widths, activation = self._networks.widths, self._networks.activation
            first, second = (Pass(rows, widths.critic, activation) for _ in range(2))
            self._made[rows] = first, second
        return self._made[rows]

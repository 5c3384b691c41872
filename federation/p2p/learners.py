"""What an engine asks of an app: first weights, local steps, accuracies. Of n peers, whose models
are vectors [n, D].
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from covey.federation.p2p.links import Rows
from covey.federation.p2p.section import PeerSection
from covey.platform.errors import UserError
from covey.platform.runs.run import Checkpoint, Part

Floats = NDArray[np.float64]
MODEL, OWN = "model.safetensors", "own.safetensors"
"""Parts of a checkpoint with arrays [n, ...]: the vectors, and what is not exchanged."""


def rate_of(section: PeerSection) -> str:
    """What to lower where training goes astray."""
    return "the app's learning rate" if section.local is None else "local.learning_rate"


class Learners(Protocol):
    """`built_in.BuiltInPeers` or `flower_app.FlowerPeers`."""

    shapes: dict[str, tuple[int, ...]]
    """Of the model's arrays, in the order that they have in a vector."""
    sizes: list[int]
    """[n]: how many samples they have, 1 as long as nobody has told."""

    def first(self) -> Rows:
        """The vectors to begin with."""

    def train(self, params: Rows, round_: int, pull: Rows | None) -> Floats:
        """A round's local steps, in place, leaning to the pull [n, D] if there is one. Returns the
        losses of those who tell one.
        """

    def accuracies(self, params: Rows, round_: int) -> Floats | None:
        """[n]; None if the app measures nothing of that kind."""

    def kept(self) -> dict[str, Part]:
        """Parts of a checkpoint: what peers keep beside their vectors."""

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""


def vectors_of(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> Rows:
    """Vectors [n, D] of the arrays [n, ...] that a checkpoint or a message has."""
    count = len(next(iter(arrays.values())))
    return np.concatenate([arrays[name].reshape(count, -1) for name in shapes], axis=1)


def vectors_in(checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]) -> Rows:
    """A checkpoint's vectors [n, D]; UserError where the model has other shapes by now."""
    arrays = checkpoint.arrays(MODEL)
    if {name: array.shape[1:] for name, array in arrays.items()} != shapes:
        raise UserError(f"{checkpoint.path} is of another model than the app's, which has changed")
    return vectors_of(arrays, shapes)

"""The memory that SAC's two processes share: a minibatch on its way to the critics, and the critics
themselves.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from numpy.typing import NDArray

from covey.algorithms.flat_mlp import Activation, size, with_ones
from covey.algorithms.sac_chunks import Data
from covey.algorithms.sac_networks import CriticNetworks, Widths
from covey.platform.runtime import segment
from covey.platform.runtime.layout import Field, Layout
from covey.platform.runtime.segment import Memory, MemoryHandle

COLUMNS = ("rewards", "discounts", "weights", "next_logp", "errors")
MOMENTS = ("mean", "square", "steps")
"""Of the critics' optimizer."""


@dataclass(frozen=True)
class BoardSpec:
    """For minibatches of so many rows, and critics of these widths."""

    widths: Widths
    activation: Activation
    rows: int

    @property
    def layout(self) -> Layout:
        width = self.widths.seen + self.widths.acting
        inputs = self.rows, with_ones(1, width).stride(0)
        vector = (2 * size(self.widths.critic),)
        fields = [Field(name, "f4", inputs) for name in ("inputs", "next_inputs")]
        fields += [Field(name, "f4", (self.rows, 1)) for name in COLUMNS]
        fields += [Field(name, "f4", vector) for name in ("critics", "targets", "mean", "square")]
        return Layout((*fields, Field("steps", "i8", (1,))))


@dataclass(frozen=True)
class BoardHandle:
    """Opens a board in another process, while the one that gave it holds it."""

    spec: BoardSpec
    memory: MemoryHandle

    def attach(self) -> "Board":
        """The board. SegmentGone if it is no longer held."""
        return Board(self.spec, segment.attach(self.memory))


class Board:
    """`arrays` by name. `critics`, `targets` and their optimizer's moments are those that train."""

    def __init__(self, spec: BoardSpec, memory: Memory) -> None:
        self._spec, self._memory = spec, memory
        self.arrays: dict[str, NDArray[Any]] = spec.layout.views(memory.buffer)

    @classmethod
    def create(cls, spec: BoardSpec) -> Self:
        """A new one, of zeros."""
        return cls(spec, segment.create("critics", spec.layout.size_bytes, shared=True))

    @property
    def handle(self) -> BoardHandle:
        """For another process, good while this one holds the board."""
        return BoardHandle(self._spec, self._memory.handle)

    def networks(self) -> CriticNetworks:
        """The critics and targets that lie on it."""
        vectors = (torch.from_numpy(self.arrays[name]) for name in ("critics", "targets"))
        return CriticNetworks(self._spec.widths, self._spec.activation, *vectors)

    def data(self) -> Data:
        """The minibatch that lies on it."""
        width, arrays = self._spec.widths.seen + 1 + self._spec.widths.acting, self.arrays
        inputs, following = (
            torch.from_numpy(arrays[name])[:, :width] for name in ("inputs", "next_inputs")
        )
        return Data(inputs, following, *(arrays[name] for name in COLUMNS))

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

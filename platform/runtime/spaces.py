"""What an environment shows and takes, as plain records: they travel to actors and into
checkpoints.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ObservationSpec:
    """One raw observation. `categories` counts the values of each entry of a categorical one.

    A "numeric" observation becomes its flattened numbers, a "categorical" one a one-hot row. An
    image stays the bytes that it is: networks for images scale them.
    """

    kind: Literal["numeric", "categorical"]
    shape: tuple[int, ...]
    dtype: str
    categories: tuple[int, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether it is bytes [channels, height, width] or [height, width, channels]."""
        return self.kind == "numeric" and self.dtype == "uint8" and len(self.shape) == 3

    @property
    def width(self) -> int:
        """Length of one encoded observation; of an image, how many bytes it has."""
        if self.kind == "categorical":
            return sum(self.categories)
        return int(np.prod(self.shape, dtype=np.int64))

    def encode(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Raw observations [B, *shape] as network input [B, width]; images as they are."""
        if self.is_image:
            return observations
        if self.kind == "numeric":
            return np.asarray(observations.reshape(len(observations), self.width), np.float32)
        rows = observations.reshape(len(observations), len(self.categories))
        encoded = np.zeros((len(rows), self.width), dtype=np.float32)
        offsets = np.cumsum((0, *self.categories[:-1]))
        np.put_along_axis(encoded, rows + offsets, 1.0, axis=1)
        return encoded


@dataclass(frozen=True)
class ActionSpec:
    """One action. Discrete: an integer in [start, start + choices). Continuous: `shape` numbers in
    [low, high].

    `low` and `high` are flat; None stands for no bound. Policies and fragments hold the unshifted,
    unclipped, flat action; `to_environment` makes of it what the environment takes.
    """

    kind: Literal["discrete", "continuous"]
    shape: tuple[int, ...]
    dtype: str
    choices: int = 0
    start: int = 0
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers the policy's head gives for one action."""
        return self.choices if self.kind == "discrete" else len(self.low)

    def empty(self, *leading: int) -> NDArray[Any]:
        """An uninitialised array for actions [*leading] or [*leading, width]."""
        if self.kind == "discrete":
            return np.empty(leading, dtype=np.int64)
        return np.empty((*leading, self.width), dtype=np.float32)

    def to_environment(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Policy actions [B, ...] as the environment takes them: shifted, or clipped and shaped."""
        if self.kind == "discrete":
            return actions + self.start if self.start else actions
        # In the environment's own precision: a bound rounded to float32 may lie outside.
        clipped = np.clip(actions.astype(self.dtype, copy=False), *self._bounds)
        prepared: NDArray[Any] = clipped.reshape(len(actions), *self.shape)
        return prepared

    @cached_property
    def _bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        low = [-np.inf if bound is None else bound for bound in self.low]
        high = [np.inf if bound is None else bound for bound in self.high]
        return np.array(low, dtype=self.dtype), np.array(high, dtype=self.dtype)


@dataclass(frozen=True)
class Spaces:
    """Both sides of an environment."""

    observation: ObservationSpec
    action: ActionSpec
    agents: int = 1
    """Columns that one environment takes: its agents, all with these spaces."""

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_record`, also after a trip through JSON."""
        parts: dict[str, dict[str, Any]] = {
            side: {k: tuple(v) if isinstance(v, list) else v for k, v in record[side].items()}
            for side in ("observation", "action")
        }
        sides = ObservationSpec(**parts["observation"]), ActionSpec(**parts["action"])
        return cls(*sides, agents=record["agents"])

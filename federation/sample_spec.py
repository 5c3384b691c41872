"""How the samples of a data set look: what a model has to know, and how raw ones are prepared."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SMALLEST_IMAGE = 4
"""Height and width that the app `cnn` needs at least: it halves both twice."""


class ImageSize(NamedTuple):
    """Sizes of an image. Flattened it is row by row, a pixel's channels beside each other."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True, eq=False)
class SampleSpec:
    """The samples of one data set. `mean` and `deviation` are those of the training samples: one
    figure for each channel of an image, one for each of flat features.
    """

    data: str
    """Where they come from, for messages."""
    sizes: tuple[int, ...]
    """(height, width) or (height, width, channels) of an image, else (features,)."""
    classes: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def pixels(self) -> int:
        """Width of a flattened sample."""
        return math.prod(self.sizes)

    @property
    def image(self) -> ImageSize | None:
        """None for flat features."""
        return image_size(self.sizes)

    def standardised(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """Raw samples [..., *sizes] as the models get them: [..., pixels], mean 0, deviation 1.

        Images that are flat already, [..., pixels], are welcome too. ValueError for other shapes.
        """
        lead = self._lead(samples.shape)
        # Of numbers that float32 cannot hold apart (large, close to each other) the difference can
        # still be held: only float64 is subtracted in float64.
        kind = np.result_type(samples.dtype, np.float32)
        out = np.empty((*lead, self.pixels // len(self.mean), len(self.mean)), np.float32)
        np.subtract(samples.reshape(out.shape), self.mean.astype(kind), out=out)
        out /= self.deviation.astype(np.float32)
        return out.reshape(*lead, self.pixels)

    def _lead(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes before those of a sample."""
        if shape[-len(self.sizes) :] == self.sizes:
            return shape[: -len(self.sizes)]
        if shape[-1:] == (self.pixels,):
            return shape[:-1]
        look = " by ".join(map(str, self.sizes))
        what = f"images of {self.data}, which are {look}"
        if self.image is None:
            what = f"samples of {self.data}, which have {look} features"
        raise ValueError(f"an array of {shape} holds no {what}")


def image_size(sizes: tuple[int, ...]) -> ImageSize | None:
    """Of a sample of these sizes, as in `SampleSpec`; None for flat features."""
    if len(sizes) < 2:
        return None
    height, width, channels = (*sizes, 1)[:3]
    return ImageSize(height, width, channels)


def moments(samples: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of samples [N, *sizes] as `SampleSpec` wants them.

    Read in pieces: the samples may lie in a file. What never varies has deviation 1.
    """
    channels = 1 if samples.ndim == 3 else samples.shape[-1]
    count = samples.size // channels
    total, squares = np.zeros(channels), np.zeros(channels)
    for piece in pieces(samples):
        total += piece.reshape(-1, channels).sum(0, dtype=np.float64)
    mean = total / count
    for piece in pieces(samples):
        squares += ((piece.reshape(-1, channels) - mean) ** 2).sum(0)
    deviation = np.sqrt(squares / count)
    varies = deviation > 1e-12 * np.abs(mean)  # else it is what rounding has left
    return mean, np.where(varies, deviation, 1.0)


def pieces(samples: NDArray[Any]) -> list[NDArray[Any]]:
    """The samples [N, ...] in views of about a million numbers each, in order."""
    rows = max(1, 2**20 // max(1, math.prod(samples.shape[1:])))
    return [samples[at : at + rows] for at in range(0, len(samples), rows)]

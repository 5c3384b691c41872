"""The noise of differential privacy, from the operating system or from the job's seed.

Whoever knows what the noise was drawn from can take it off again, and clients know the job's seed.
"""

import os
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Noise(Protocol):
    """A function, so no checkpoint keeps it."""

    def __call__(self, deviation: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Independent Gaussian numbers with mean 0."""


def secret_noise(deviation: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """From the operating system: nobody can draw it again, and no checkpoint needs to."""
    size = int(np.prod(shape))
    # Box and Muller 1958: two uniform numbers, the first above 0, make a Gaussian one.
    bits = np.frombuffer(os.urandom(16 * size), np.uint64).reshape(2, *shape) >> np.uint64(11)
    first, second = (bits[0] + 1.0) * 2.0**-53, bits[1] * 2.0**-53
    return np.asarray(deviation * np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))


def seeded_noise(deviation: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """From numpy's generator, which a job seeds and a checkpoint keeps: the same in every run."""
    return np.asarray(np.random.normal(0, deviation, shape))

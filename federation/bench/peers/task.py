"""What all who are compared train on: the same images, shares, first weights and cohorts.

Settings: `folder` with the four idx files, `mean` and `deviation` of a pixel, `start` (the file
that `covey bench` has written), `epochs` or `steps` (the other is 0), `batch_size`,
`learning_rate`, `model` and `seed`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from round_clock import Settings

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Images are [N, 784], standardised; labels [N]; `cohorts` [rounds, C] says who trains."""

    images: Floats
    labels: Whole
    test_images: Floats
    test_labels: Whole
    shares: list[Whole]
    """The samples of each client."""
    cohorts: Whole
    weights: dict[str, Floats]
    """The first global model, named and shaped as PyTorch does."""
    epochs: int
    steps: int
    batch_size: int
    learning_rate: float

    def passes(self, client: int) -> int:
        """How often a client goes over its samples; `steps` may end the last pass early."""
        return self.epochs or -(-self.steps // -(-len(self.shares[client]) // self.batch_size))


def load(settings: Settings) -> Task:
    """Read it all."""
    folder = Path(settings["folder"])
    with np.load(settings["start"]) as start:
        owner, cohorts = start["owner"], start["cohorts"]
        weights = {
            name.removeprefix("model/"): start[name] for name in start if name.startswith("model/")
        }
    by_owner = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner))
    return Task(
        _images(folder / "train-images-idx3-ubyte", settings),
        _labels(folder / "train-labels-idx1-ubyte"),
        _images(folder / "t10k-images-idx3-ubyte", settings),
        _labels(folder / "t10k-labels-idx1-ubyte"),
        np.split(by_owner, ends[:-1]),
        cohorts,
        weights,
        *(settings[key] for key in ("epochs", "steps", "batch_size", "learning_rate")),
    )


def _images(path: Path, settings: Settings) -> Floats:
    raw: Any = np.fromfile(path, np.uint8, offset=16).reshape(-1, 784)
    images = raw.astype(np.float32)
    images -= np.float32(settings["mean"])
    images /= np.float32(settings["deviation"])
    return images


def _labels(path: Path) -> Whole:
    return np.fromfile(path, np.uint8, offset=8).astype(np.int64)

"""Read a data set into memory: one float32 matrix for all clients, who index into it."""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from covey.federation.catalogue import DATA_SETS, FILES, DataSet
from covey.platform.errors import UserError
from covey.platform.seeds import derive

Raw = NDArray[np.uint8]
DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Images:
    """Labelled images, flattened: images [N, pixels] float32, labels [N] int64 in [0, classes).

    Pixels are standardised: see `standardised`.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    @property
    def pixels(self) -> int:
        """Width of a flattened image."""
        return int(self.train_images.shape[1])

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.train_labels.max()) + 1


def missing_data(name: str) -> str | None:
    """Why a data set cannot be used yet and what to do, None when it can be."""
    if DATA_SETS[name].present:
        return None
    return f"data set {name} is not on this machine; fetch it with: covey data get {name}"


@lru_cache(maxsize=2)
def load(name: str) -> Images:
    """The data set of that name, read once a process.

    UserError when it was not fetched or is damaged.
    """
    train, train_labels, test, test_labels = load_raw(name)
    return Images(
        standardised(name, train),
        train_labels.astype(np.int64),
        standardised(name, test),
        test_labels.astype(np.int64),
    )


def standardised(name: str, images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Raw images [..., height, width] as the models get them: [..., pixels], mean 0, deviation 1.

    Images that are flat already, [..., pixels], are welcome too. ValueError for other shapes.
    """
    data_set = DATA_SETS[name]
    height, width = data_set.height, data_set.width
    if images.shape[-2:] == (height, width):
        images = images.reshape(*images.shape[:-2], height * width)
    elif images.shape[-1:] != (height * width,):
        raise ValueError(
            f"an array of {images.shape} holds no images of {name}, which are {height} by {width}"
        )
    out = images.astype(np.float32)
    out -= np.float32(data_set.mean)
    out /= np.float32(data_set.deviation)
    return out


def load_raw(name: str) -> tuple[Raw, Raw, Raw, Raw]:
    """Training images [N, height, width] and labels [N], test images and labels, as published.

    UserError when the data set was not fetched, or when a file's SHA-256 is not what it was.
    """
    reason = missing_data(name)
    if reason:
        raise UserError(reason)
    data_set = DATA_SETS[name]
    if not data_set.sha256:
        return _digits()
    train, train_labels, test, test_labels = (
        _read(data_set, file, size, digest)
        for file, size, digest in zip(FILES, data_set.sizes, data_set.sha256, strict=True)
    )
    return train, train_labels, test, test_labels


def _read(data_set: DataSet, file: str, size: int, digest: str) -> Raw:
    path = data_set.folder / file
    try:
        with path.open("rb") as opened:
            content = opened.read(size + 1)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("its SHA-256 differs")
        return parse_idx(content)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be used: {error}; delete {data_set.folder} and run: "
            f"covey data get {data_set.name}"
        ) from None


def parse_idx(content: bytes) -> Raw:
    """An array in the idx format of the MNIST files: bytes, big-endian sizes first.

    Images have 3 dimensions, labels 1. ValueError when it is no such array or was cut short.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or content[3] not in (1, 3):
        raise ValueError("no idx file of images or labels")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{len(content)} bytes, too few or too many for an array of {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _digits() -> tuple[Raw, Raw, Raw, Raw]:
    """scikit-learn's 1,797 digits; a fifth, the same for everyone, is the test set."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    order = np.random.default_rng(derive(DIGITS_SPLIT_SEED, "digits")).permutation(len(images))
    train, test = order[: DATA_SETS["digits"].train], order[DATA_SETS["digits"].train :]
    return images[train], labels[train], images[test], labels[test]

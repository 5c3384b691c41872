"""Read a data set into memory: one float32 matrix for all clients, who index into it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from covey.federation.catalogue import DATA_SETS, FILES, DataSet
from covey.platform.errors import UserError
from covey.platform.seeds import derive

DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Images:
    """Labelled images, flattened: images [N, pixels] float32, labels [N] int64 in [0, classes).

    Pixels are standardised with the mean and the standard deviation of all training pixels.
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
    reason = missing_data(name)
    if reason:
        raise UserError(reason)
    data_set = DATA_SETS[name]
    return _standardised(*(_read_files(data_set) if data_set.sha256 else _digits()))


Raw = NDArray[np.uint8]


def _read_files(data_set: DataSet) -> tuple[Raw, Raw, Raw, Raw]:
    shapes: list[tuple[int, ...]] = []
    for count in (data_set.train, data_set.test):
        shapes += [(count, data_set.height, data_set.width), (count,)]
    train, train_labels, test, test_labels = (read_idx(data_set.folder / file) for file in FILES)
    arrays = (train, train_labels, test, test_labels)
    for array, shape, file in zip(arrays, shapes, FILES, strict=True):
        if array.shape != shape:
            raise UserError(
                f"{data_set.folder / file} holds an array of {array.shape}, not {shape}; delete "
                f"{data_set.folder} and run: covey data get {data_set.name}"
            )
    return train, train_labels, test, test_labels


def read_idx(path: Path) -> Raw:
    """An array in the idx format of the MNIST files: bytes, big-endian sizes first.

    UserError when the file is no such array or was cut short.
    """
    content = path.read_bytes()
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{path} is no idx file of bytes; delete it and fetch the data set again")
    dimensions = content[3]
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    start = 4 + 4 * dimensions
    if len(content) != start + int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"{path} was cut short; delete it and fetch the data set again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _digits() -> tuple[Raw, Raw, Raw, Raw]:
    """scikit-learn's 1,797 digits; a fifth, the same for everyone, is the test set."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    order = np.random.default_rng(derive(DIGITS_SPLIT_SEED, "digits")).permutation(len(images))
    train, test = order[: DATA_SETS["digits"].train], order[DATA_SETS["digits"].train :]
    return images[train], labels[train], images[test], labels[test]


def _standardised(train: Raw, train_labels: Raw, test: Raw, test_labels: Raw) -> Images:
    mean, deviation = train.mean(dtype=np.float64), train.std(dtype=np.float64)

    def flat(images: Raw) -> NDArray[np.float32]:
        out = images.reshape(len(images), -1).astype(np.float32)
        out -= np.float32(mean)
        out /= np.float32(deviation)
        return out

    return Images(
        flat(train), train_labels.astype(np.int64), flat(test), test_labels.astype(np.int64)
    )

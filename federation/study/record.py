"""What is kept of a run: its learning curve, by rounds and by traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

METRICS = {
    "accuracy": "accuracy on the balanced test set",
    "accuracy_seen_labels": "accuracy on each client's labels",
}
"""A method is scored by both: the test set as it is, and, for each client, the test samples of the
labels that it has (the measure of the authors' code).
"""
LAST = 3
"""So many evaluations at the end of a run are its score, on average."""


@dataclass(frozen=True)
class Point:
    """An evaluation after a round, and the megabytes sent up and down until then."""

    round: int
    megabytes: float
    accuracy: float
    accuracy_seen_labels: float


@dataclass(frozen=True)
class Record:
    """A finished run. `wall_s` is its training, `process_s` all of its process."""

    job_id: str
    curve: tuple[Point, ...]
    wall_s: float
    process_s: float

    def score(self, metric: str) -> float:
        """The mean of the last evaluations; that before the first round is none."""
        values = [getattr(point, metric) for point in self.curve if point.round > 0][-LAST:]
        return float(sum(values) / len(values))

    @property
    def megabytes(self) -> float:
        """All that was sent, up and down."""
        return self.curve[-1].megabytes

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Record":
        """The inverse of `document`."""
        points = tuple(Point(**point) for point in document["curve"])
        return cls(**{**document, "curve": points})


def curve_of(lines: Sequence[Mapping[str, float]]) -> tuple[Point, ...]:
    """The evaluations among the lines of a run's metrics."""
    points, sent = [], 0.0
    for line in lines:
        sent += line.get("bytes_up", 0) + line.get("bytes_down", 0)
        if METRICS.keys() <= line.keys():
            scores = (line[metric] for metric in METRICS)
            points.append(Point(int(line["step"]), sent / 1e6, *scores))
    return tuple(points)


def best_rate(scores: Mapping[float, float]) -> float:
    """The learning rate with the best score; of equals the smallest."""
    return max(sorted(scores), key=lambda rate: scores[rate])

"""What a comparison of federated averaging found, work by work."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from covey.algorithms.bench.rounds import Spread, median_ratio, spread
from covey.federation.bench.reading import Reading

AGREE = 0.01
"""Accuracies are the same when they are no further apart: one point."""


@dataclass(frozen=True)
class Line:
    """One contender. `ratios`: each of Covey's engines' warm rounds/s over this one's."""

    key: str
    name: str
    rounds_per_s: Spread
    warm_rounds_per_s: Spread
    process_s: Spread
    peak_mb: Spread
    accuracy: float
    agrees: bool
    ratios: Mapping[str, float]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class WorkFound:
    """One work's contenders; their accuracies are held against that of `reference`."""

    work: str
    title: str
    rounds: int
    reference: str
    lines: list[Line]

    @property
    def disagreeing(self) -> list[str]:
        """A sentence for each contender that trained something else, or as if."""
        of = {line.key: line for line in self.lines}
        return [
            f"{self.work}: {line.name} ends with accuracy {line.accuracy:.3f}, "
            f"{of[self.reference].name} with {of[self.reference].accuracy:.3f}: more than a point "
            "apart, so their speeds cannot be compared"
            for line in self.lines
            if not line.agrees
        ]


@dataclass(frozen=True)
class Report:
    """One run of `covey bench federated`; `note` says how to read it. `message_ms`: what a message
    costs, None where that was not asked for.
    """

    note: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    works: list[WorkFound] = field(default_factory=list)
    message_ms: Spread | None = None

    @property
    def disagreeing(self) -> list[str]:
        """See `WorkFound`."""
        return [sentence for work in self.works for sentence in work.disagreeing]

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"bench": "federated", **asdict(self), "disagreeing": self.disagreeing}


def lines_of(
    names: Mapping[str, str],
    readings: Mapping[str, Sequence[Reading]],
    engines: Sequence[str],
    reference: str,
) -> list[Line]:
    """A line for each contender (by key) in `names`; all have as many readings, taken in turn."""
    warm = {key: [one.warm_rounds_per_s for one in own] for key, own in readings.items()}
    expected = median(one.accuracy for one in readings[reference])
    lines = []
    for key, name in names.items():
        own = readings[key]
        accuracy = median(one.accuracy for one in own)
        lines.append(
            Line(
                key,
                name,
                spread([one.rounds_per_s for one in own]),
                spread(warm[key]),
                spread([one.process_s for one in own]),
                spread([one.peak_mb for one in own]),
                accuracy,
                round(abs(accuracy - expected), 6) <= AGREE,
                {engine: median_ratio(warm[engine], warm[key]) for engine in engines},
                tuple(own),
            )
        )
    return lines

"""What a comparison found: figures with their spread, and how ours compares with each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from covey.algorithms.bench.rounds import Spread, median_ratio, spread

OURS = "Covey"


@dataclass(frozen=True)
class Figure:
    """One contender's result at one subject. `ratio` is ours over it, None where ours is none."""

    subject: str
    contender: str
    unit: str
    spread: Spread
    readings: tuple[float, ...]
    ratio: float | None
    of_peak: float | None = None
    """Share of the machine's float32 matrix products, for what consists of them."""
    solved: int | None = None
    """Of as many runs as there are readings, for what may fail."""


@dataclass(frozen=True)
class Report:
    """One run of `covey bench`; `note` says how to read it, `machine` and `settings` are plain JSON
    values.
    """

    bench: str
    note: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    figures: list[Figure] = field(default_factory=list)

    def add(
        self,
        subject: str,
        unit: str,
        readings: Mapping[str, Sequence[float]],
        of_peak: Mapping[str, float] | None = None,
        solved: Mapping[str, int] | None = None,
    ) -> None:
        """Take in one subject's readings by contender."""
        ours = readings.get(OURS)
        for contender, found in readings.items():
            self.figures.append(
                Figure(
                    subject,
                    contender,
                    unit,
                    spread(found),
                    tuple(found),
                    median_ratio(ours, found) if ours and contender != OURS else None,
                    (of_peak or {}).get(contender),
                    (solved or {}).get(contender),
                )
            )

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

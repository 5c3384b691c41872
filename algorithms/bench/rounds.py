"""Contenders measured in turn, so that a machine that gets slower gets slower for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

WARM_S = 0.5


class Measuring(Protocol):
    """A process that measures, `served.Served` or a stand-in for it."""

    def ask(self, what: str, seconds: float) -> None:
        """Begin a measurement."""

    def rate(self, seconds: float) -> float:
        """Its result, per second."""


@dataclass(frozen=True)
class Contender:
    """What is measured: processes that work at the same time, whose rates add up."""

    name: str
    processes: Sequence[Measuring]
    what: str

    def measure(self, seconds: float) -> float:
        """Its rate over about so many seconds."""
        for process in self.processes:
            process.ask(self.what, seconds)
        return sum(process.rate(seconds) for process in self.processes)


@dataclass(frozen=True)
class Spread:
    """What several rounds came to."""

    median: float
    low: float
    high: float


def spread(readings: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one reading."""
    return Spread(median(readings), min(readings), max(readings))


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Ours over theirs, round by round, and the median of that: it forgives a machine that drifts.

    Both have a reading of every round.
    """
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def in_turn(
    contenders: Sequence[Contender],
    rounds: int,
    seconds: float,
    heard: Callable[[str, int, float], None] = lambda name, number, rate: None,
) -> dict[str, list[float]]:
    """Readings by contender, A B A B ...; each warms up once before the first round.

    `heard` is called with every reading as it comes, rounds counted from 1.
    """
    readings: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.measure(min(seconds, WARM_S))
    for number in range(1, rounds + 1):
        for contender in contenders:
            rate = contender.measure(seconds)
            readings[contender.name].append(rate)
            heard(contender.name, number, rate)
    return readings

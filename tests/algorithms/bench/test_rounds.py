"""Contenders are measured in turn; what comes out of it is a median with its spread."""

import pytest

from covey.algorithms.bench.report import OURS, Report
from covey.algorithms.bench.rounds import Contender, Spread, in_turn, median_ratio, spread


class Scripted:
    """A process whose rates are written down beforehand; notes when it was asked."""

    def __init__(self, name: str, rates: list[float], asked: list[str]) -> None:
        self._name, self._rates, self._asked = name, rates, asked

    def ask(self, what: str, seconds: float) -> None:
        self._asked.append(f"{self._name} {what} {seconds:g}")

    def rate(self, seconds: float) -> float:
        return self._rates.pop(0)


def test_spread_is_median_lowest_and_highest() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(median=3.0, low=1.0, high=5.0)
    assert spread([4.0, 2.0]) == Spread(median=3.0, low=2.0, high=4.0)


def test_ratio_is_taken_within_a_round() -> None:
    """A machine that halves its speed in between changes no ratio."""
    assert median_ratio([100.0, 50.0, 100.0], [50.0, 25.0, 50.0]) == 2.0
    with pytest.raises(ValueError):
        median_ratio([1.0], [1.0, 2.0])


def test_contenders_take_turns_after_a_warm_up() -> None:
    asked: list[str] = []
    a = Contender("a", [Scripted("a", [9.0, 1.0, 2.0], asked)], "steps")
    b = Contender("b", [Scripted("b", [9.0, 3.0, 4.0], asked)], "steps")
    heard: list[tuple[str, int, float]] = []
    readings = in_turn([a, b], 2, 3.0, lambda *reading: heard.append(reading))
    warm = ["a steps 0.5", "b steps 0.5"]
    assert asked == [*warm, "a steps 3", "b steps 3", "a steps 3", "b steps 3"]
    assert readings == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    assert heard == [("a", 1, 1.0), ("b", 1, 3.0), ("a", 2, 2.0), ("b", 2, 4.0)]


def test_processes_of_one_contender_work_at_once_and_add_up() -> None:
    asked: list[str] = []
    both = [Scripted("one", [2.0], asked), Scripted("two", [3.0], asked)]
    assert Contender("both", both, "steps").measure(1.0) == 5.0
    assert asked == ["one steps 1", "two steps 1"]


def test_a_report_compares_ours_with_everybody_else() -> None:
    report = Report("sampling", "", {}, {})
    report.add("CartPole-v1", "env steps/s", {OURS: [30.0, 20.0], "SB3": [10.0, 10.0]})
    ours, other = report.figures
    assert (ours.ratio, other.ratio) == (None, 2.5)
    assert (other.spread.median, other.readings) == (10.0, (10.0, 10.0))

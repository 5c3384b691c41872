"""What readings become: spreads, ratios, and who trained something else."""

import json

import pytest

from covey.federation.bench.compare import in_turn
from covey.federation.bench.contenders import Contender
from covey.federation.bench.metered import Metered
from covey.federation.bench.reading import Reading, our_record, reading
from covey.federation.bench.report import Report, WorkFound, lines_of
from covey.federation.bench.table import print_report

NAMES = {"cohort": "Covey cohort", "inline": "Covey inline", "plain": "plain torch loop"}


def one(warm: float, accuracy: float = 0.9) -> Reading:
    return Reading(warm / 2, warm, process_s=3.0, peak_mb=500.0, accuracy=accuracy)


def found(accuracy: float) -> WorkFound:
    readings = {
        "cohort": [one(200.0), one(100.0), one(200.0)],
        "inline": [one(20.0, accuracy), one(10.0, accuracy), one(20.0, accuracy)],
        "plain": [one(25.0), one(12.5), one(25.0)],
    }
    return WorkFound(
        "mlp", "a network", 30, "plain", lines_of(NAMES, readings, ("cohort", "inline"), "plain")
    )


def test_rates_are_with_and_without_the_first_round() -> None:
    record = {"rounds": 11, "first_s": 2.0, "total_s": 7.0, "accuracy": 0.5}
    came = reading(Metered(record, process_s=9.0, peak_mb=400.0))
    assert came == Reading(11 / 7, 10 / 5, process_s=9.0, peak_mb=400.0, accuracy=0.5)


def test_of_our_run_the_round_that_ends_with_the_test_is_left_out() -> None:
    reports = [{"step": step, "wall_s": wall_s} for step, wall_s in enumerate([1.0, 3.0, 4.0, 9.0])]
    record = our_record({"metrics": {"accuracy": 0.9}}, reports)
    assert record == {"rounds": 2, "first_s": 2.0, "total_s": 3.0, "accuracy": 0.9}


def test_ratios_are_taken_within_a_turn() -> None:
    """A machine that halves its speed in between changes no ratio."""
    ratios = {line.key: line.ratios for line in found(0.9).lines}
    assert ratios["plain"] == {"cohort": 8.0, "inline": 0.8}
    assert ratios["cohort"] == {"cohort": 1.0, "inline": 0.1}


def test_accuracies_within_a_point_agree() -> None:
    assert found(0.91).disagreeing == found(0.89).disagreeing == []
    (sentence,) = found(0.88).disagreeing
    assert sentence.startswith("mlp: Covey inline ends with accuracy 0.880, plain torch loop with")


def test_a_report_names_who_disagrees(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    report = Report("how to read it", {}, {}, [found(0.88)])
    print_report(report, as_json=False)
    shown = capsys.readouterr().out
    assert "0.880 (!)" in shown and "8.00 x" in shown
    assert shown.splitlines()[-1] == report.disagreeing[0]
    print_report(report, as_json=True)
    record = json.loads(capsys.readouterr().out)
    assert record["disagreeing"] == report.disagreeing
    assert record["works"][0]["lines"][2]["ratios"]["cohort"] == 8.0


def test_contenders_take_turns() -> None:
    ran: list[str] = []

    def contender(key: str) -> Contender:
        def run() -> Metered:
            ran.append(key)
            record = {"rounds": 3, "first_s": 1.0, "total_s": 3.0, "accuracy": len(ran) / 10}
            return Metered(record, 4.0, 100.0)

        return Contender(key, key.upper(), run)

    readings = in_turn("mlp", [contender("a"), contender("b")], times=2)
    assert ran == ["a", "b", "a", "b"]
    assert [one.accuracy for one in readings["b"]] == [0.2, 0.4]

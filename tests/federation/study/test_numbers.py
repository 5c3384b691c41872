"""What is made of the numbers of runs: curves, scores, rates, intervals, tables and pictures."""

import json

import pytest

from covey.federation.study.cells import Cell, compare, document
from covey.federation.study.parts import Part, Row, Setting
from covey.federation.study.picture import (
    draw_curves,
    draw_differences,
    legend_columns,
    line_styles,
)
from covey.federation.study.plan import Plan
from covey.federation.study.record import Point, Record, best_rate, curve_of
from covey.federation.study.statistics import Difference, Spread, paired_difference, spread
from covey.federation.study.table import markdown, percent, points

SETTING = Setting("mnist", 0.1)
AVG, GEN = (Row(name, {"strategy": {"name": name}}) for name in ("fedavg", "fedgen"))


def record(*accuracies, megabytes=1.0):
    """A run with those accuracies after rounds 0, 10, 20, ...; the other metric is half of it."""
    curve = [
        Point(10 * place, megabytes * place, value, value / 2)
        for place, value in enumerate(accuracies)
    ]
    return Record("job", tuple(curve), 1.0, 2.0)


def test_a_curve_has_the_evaluated_rounds_and_the_traffic_up_to_them():
    lines = [
        {"step": 0, "accuracy": 0.1, "accuracy_seen_labels": 0.2},
        {"step": 1, "bytes_up": 1e6, "bytes_down": 2e6},
        {"step": 2, "bytes_up": 1e6, "bytes_down": 3e6, "accuracy": 0.5, "accuracy_seen_labels": 1},
    ]
    assert curve_of(lines) == (Point(0, 0.0, 0.1, 0.2), Point(2, 7.0, 0.5, 1))


def test_a_score_is_the_mean_of_the_last_three_evaluations_but_never_the_first_models():
    assert record(0.1, 0.3, 0.6, 0.6, 0.9).score("accuracy") == pytest.approx(0.7)
    assert record(0.1, 0.3, 0.6, 0.6, 0.9).score("accuracy_seen_labels") == pytest.approx(0.35)
    assert record(0.1, 0.3, 0.5).score("accuracy") == pytest.approx(0.4)


def test_a_record_is_kept_as_json():
    kept = record(0.1, 0.3)
    assert Record.of(json.loads(json.dumps(kept.document()))) == kept


def test_the_best_rate_is_that_of_the_best_score_and_of_equals_the_smallest():
    assert best_rate({0.01: 0.5, 0.03: 0.9, 0.1: 0.8}) == 0.03
    assert best_rate({0.1: 0.9, 0.03: 0.9, 0.01: 0.2}) == 0.03


def test_spread_and_paired_intervals():
    assert spread([2, 4, 4, 4, 5, 5, 7, 9]) == Spread(5, pytest.approx(2.1380899))
    assert spread([0.5]) == Spread(0.5, None)
    # t(4, 0.975) = 2.776445, the deviation of 1 to 5 is 1.581139: 1.963243 to either side.
    found = paired_difference([11, 22, 33, 44, 55], [10, 20, 30, 40, 50])
    assert found == Difference(3, pytest.approx(1.036757), pytest.approx(4.963243))
    assert paired_difference([3], [1]) == Difference(2, None, None)
    with pytest.raises(ValueError):
        paired_difference([1, 2], [1])


def cells():
    averaged = {1: record(0, 0.9), 2: record(0, 0.8)}
    generated = {2: record(0, 0.84, megabytes=3), 1: record(0, 0.92, megabytes=3)}
    return [
        Cell(AVG, SETTING, {0.01: 0.7, 0.1: 0.6}, 0.01, averaged),
        Cell(GEN, SETTING, {0.01: 0.7, 0.1: 0.9}, 0.1, generated),
    ]


def test_the_table_has_every_seed_and_the_difference_by_pairs():
    lines = markdown(Plan(Part((AVG, GEN), (SETTING,), 2), app="mlp"), cells()).splitlines()
    assert "| fedgen | 88.00 ± 5.66 |" in lines
    assert "| fedavg | 0.01 | 1.0 | 85.00 ± 7.07 | 90.00 80.00 |  |  |" in lines
    # t(1, 0.975) = 12.706, the deviation of 2 and 4 is 1.414: 12.71 to either side.
    mean = "| fedgen | 0.1 | 3.0 | 88.00 ± 5.66 | 92.00 84.00 | +3.00 [-9.71, +15.71] | fedavg |"
    assert mean in lines
    seen = "| fedgen | 0.1 | 3.0 | 44.00 ± 2.83 | 46.00 42.00 | +1.50 [-4.85, +7.85] | fedavg |"
    assert seen in lines
    assert percent(Spread(0.5, None)) == "50.00"
    assert points(Difference(-0.01, None, None)) == "-1.00"


def test_the_document_has_all_numbers():
    plan = Plan(Part((AVG, GEN), (SETTING,), 2))
    _, ours = document(plan, cells())["cells"]
    assert (ours["method"], ours["data"], ours["alpha"]) == ("fedgen", "mnist", 0.1)
    assert (ours["learning_rate"], ours["tuning"]) == (0.1, {"0.01": 0.7, "0.1": 0.9})
    assert ours["accuracy"]["seeds"] == [0.92, 0.84]
    assert ours["accuracy"]["against"] == "fedavg"
    assert [run["seed"] for run in ours["runs"]] == [1, 2]
    assert ours["runs"][0]["curve"][1]["megabytes"] == 3
    short = document(plan, cells(), curves=False)
    assert short["cells"][1]["runs"] == [{"seed": 1, "job": "job"}, {"seed": 2, "job": "job"}]


class Answers:
    """In the place of `Trials`: a run's accuracy is its rate for fedavg, and falls with it for
    fedgen.
    """

    def finish(self, trials):
        return {
            trial: record(0, trial.rate if trial.row is AVG else 1 - trial.rate) for trial in trials
        }


def test_each_row_runs_at_the_rate_that_was_best_for_it():
    plan = Plan(Part((AVG, GEN), (SETTING, Setting("mnist", 10.0)), 2))
    for found in compare(plan, Answers()):
        averaged, generated = found
        assert (averaged.rate, generated.rate) == (0.1, 0.01)
        assert averaged.tried == {0.01: 0.01, 0.03: 0.03, 0.1: 0.1}
        assert averaged.scores("accuracy") == [0.1, 0.1]
        assert generated.scores("accuracy") == [0.99, 0.99]


def test_rows_have_colours_of_their_own_and_pairs_share_one():
    styles = line_styles([AVG, GEN, Row("no diversity", {})])
    assert len({colour for colour, _ in styles.values()}) == 3
    assert {dashes for _, dashes in styles.values()} == {"-"}
    pairs = [Row("a", {}, "a"), Row("A", {}, "a"), Row("b", {}, "b"), Row("B", {}, "b")]
    styles = line_styles(pairs)
    assert styles["a"][0] == styles["A"][0] != styles["b"][0] == styles["B"][0]
    assert [styles[label][1] for label in "aAbB"] == ["--", "-", "--", "-"]


def test_a_legend_has_as_many_columns_as_fit():
    assert legend_columns(["fedavg", "fedgen"], 7.5) == 2
    assert legend_columns(["x" * 40] * 3, 7.5) == 2
    assert legend_columns(["x" * 400], 7.5) == 1


def test_pictures_are_drawn():
    far = Cell(Row("far", {}), SETTING, {}, 0.1, {1: record(0, 0.1), 2: record(0, 0.2)})
    for found in (cells(), [*cells(), far]):
        drawn = [draw_curves(found, "accuracy", along) for along in ("round", "megabytes")]
        for picture in (*drawn, draw_differences(found)):
            assert picture.startswith(b"\x89PNG")
    assert draw_curves(cells()[:1], "accuracy_seen_labels", "round").startswith(b"\x89PNG")

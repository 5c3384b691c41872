import pytest
from matplotlib.figure import Figure

from covey.platform.runs.panels import COLOURS, Panel, Series, course, draw, draw_figure


def drawn(panel: Panel):
    axes = Figure().add_subplot()
    draw(axes, panel)
    return axes


def test_a_course_has_only_the_lines_with_both_figures() -> None:
    lines = [{"step": 0.0, "a": 1.0}, {"step": 1.0}, {"step": 2.0, "a": 3.0, "mb": 0.5}]
    assert course(lines, "a") == Series([0.0, 2.0], [1.0, 3.0])
    assert course(lines, "a", along="mb", label="x") == Series([0.5], [3.0], "x")


def test_curves_are_told_apart_and_goals_are_named() -> None:
    curves = (Series([0, 1], [0.1, 0.2], "mean"), Series([1], [0.1], "worst"))
    axes = drawn(Panel("accuracy", curves, "rounds", goal=0.9))
    assert [line.get_color() for line in axes.lines[:2]] == list(COLOURS[:2])
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["mean", "worst", "stop at 0.9"]


def test_a_band_reaches_from_least_to_greatest() -> None:
    series = Series([0, 1, 2], [2.0, 3.0, 4.0], band=([1.0, 1.5, 2.0], [5.0, 6.0, 7.0]))
    axes = drawn(Panel("accuracy", (series,), "rounds"))
    (area,) = axes.collections
    corners = {tuple(corner) for corner in area.get_paths()[0].vertices}
    assert {(0, 1), (1, 1.5), (2, 2), (0, 5), (1, 6), (2, 7)} <= corners


@pytest.mark.parametrize(
    ("x", "edges"), [([1, 2, 3], [0.5, 1.5, 2.5, 3.5]), ([4], [3.5, 4.5]), ([1, 3], [0, 2, 4])]
)
def test_stacked_areas_add_up_and_are_as_wide_as_their_rounds(x, edges) -> None:
    one, other = [2.0] * len(x), [3.0] * len(x)
    axes = drawn(Panel("clients", (Series(x, one, "a"), Series(x, other, "b")), "", stacked=True))
    below, above = (patch.get_data() for patch in axes.patches)
    assert list(below.edges) == edges
    assert (list(below.values), list(above.baseline)) == (one, one)
    assert list(above.values) == [5.0] * len(x)
    assert axes.get_ylim()[0] == 0


def test_a_spike_is_cut_off_and_told() -> None:
    panel = Panel("time", (Series(range(10), [1.0] * 9 + [50.0]),), "rounds", stacked=True)
    axes = drawn(panel)
    assert axes.get_ylim() == (0, 2.5)
    assert [text.get_text() for text in axes.texts] == ["highest: 50"]
    even = Panel("time", (Series(range(10), [1.0] * 9 + [2.0]),), "rounds", stacked=True)
    assert drawn(even).get_ylim()[1] > 2 and not drawn(even).texts


def test_units_are_below_every_panel_where_they_differ() -> None:
    def units(*names: str) -> list[str]:
        panels = [Panel("p", (Series([0, 1], [0, 1]),), name) for name in names]
        return [axes.get_xlabel() for axes in draw_figure(panels, "", "").axes]

    assert units("rounds", "MB", "rounds", "rounds") == ["rounds", "MB", "rounds", "rounds"]
    assert units("s", "s", "s", "s") == ["", "", "s", "s"]

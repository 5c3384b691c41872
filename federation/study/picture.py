"""The study's pictures: learning curves by rounds and by traffic, and differences."""

from collections.abc import Sequence
from io import BytesIO
from itertools import cycle
from typing import TYPE_CHECKING, Literal

from covey.federation.study.cells import Cell
from covey.federation.study.parts import Row
from covey.federation.study.record import METRICS
from covey.federation.study.statistics import spread
from covey.platform.runs.panels import FAINT, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "fedavg": "#374151",
    "fedprox": "#d97706",
    "fedensemble": "#7c3aed",
    "feddistill": "#b91c1c",
    "feddistill+": "#db7ba5",
    "feddf": "#0f9d8a",
    "fedgen": "#2563a8",
}
OTHERS = ("#d97706", "#7c3aed", "#b91c1c", "#0f9d8a", "#db7ba5", "#65a30d")
COLUMNS = 3
FAR = 5
"""Where numbers differ by more than this factor they are drawn on a logarithmic axis."""
NEAR = 4
"""Percentage points that are drawn on a linear axis in any case."""
Along = Literal["round", "megabytes"]
Style = tuple[str, str]
"""A colour and what a line is made of."""
UNITS = {"round": "rounds", "megabytes": "MB up and down"}


def draw_curves(cells: Sequence[Cell], metric: str, along: Along) -> bytes:
    """A PNG with a panel for each setting: the mean over seeds, in a band of their deviation."""
    from matplotlib.ticker import MaxNLocator

    settings = list(dict.fromkeys(cell.setting for cell in cells))
    styles = line_styles([cell.row for cell in cells])
    title = f"{METRICS[metric].capitalize()}, by {UNITS[along]}"
    figure, panels = _panels(len(settings), title, 3.4, list(styles))
    for setting, axes in zip(settings, panels, strict=True):
        own = [cell for cell in cells if cell.setting == setting]
        for cell in own:
            _draw_course(axes, cell, metric, along, styles[cell.row.label])
        totals = [cell.megabytes for cell in own]
        if along == "megabytes" and max(totals) > FAR * min(totals):
            axes.set_xscale("log")
        axes.set_title(str(setting), fontsize=11, loc="left")
        axes.set_xlabel(UNITS[along], color=FAINT)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.xaxis.set_major_formatter(short_number)
        if along == "round":
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _tidy(axes)
    _explain(figure, panels[0])
    return _png(figure)


def draw_differences(cells: Sequence[Cell]) -> bytes:
    """A PNG with a panel for each setting: how far each row is from the one it is measured against,
    every seed and the interval of the mean, by both metrics. One row at least is to be measured
    against another.
    """
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    most = max(sum(cell.setting == setting for cell in cells) for setting in settings)
    title = "Differences paired by seed, with 95 % t-intervals"
    figure, panels = _panels(len(settings), title, 1.0 + 0.42 * most, list(METRICS.values()))
    for setting, axes in zip(settings, panels, strict=True):
        own = [cell for cell in cells if cell.setting == setting]
        _draw_intervals(axes, own)
        axes.set_title(str(setting), fontsize=11, loc="left")
    _explain(figure, panels[0])
    return _png(figure)


def _panels(
    number: int, title: str, height: float, labels: Sequence[str]
) -> tuple["Figure", list["Axes"]]:
    """A figure with so many panels under a title and room for a legend with these labels."""
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    columns = min(number, COLUMNS)
    rows = -(-number // columns)
    width = max(4.4 * columns, 7.5)
    head = 0.6 + 0.22 * -(-len(labels) // legend_columns(labels, width))
    size = width, height * rows + head
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.984, 1 - head / size[1]), hspace=0.06, wspace=0.04
    )
    figure.text(0.015, 1 - 0.14 / size[1], title, va="top", fontsize=14, fontweight="bold")
    return figure, [figure.add_subplot(rows, columns, 1 + place) for place in range(number)]


def line_styles(rows: Sequence[Row]) -> dict[str, Style]:
    """Colour and dashes of each row by its label: a method's own, or, where rows are measured
    against several others, one colour for those that belong together.
    """
    bases = list(dict.fromkeys(row.against for row in rows))
    if len(bases) > 1:
        return {
            row.label: (OTHERS[bases.index(row.against) % len(OTHERS)], _dashes(row))
            for row in rows
        }
    others = [row.label for row in rows if row.label not in COLOURS]
    rest = dict(zip(dict.fromkeys(others), cycle(OTHERS), strict=False))
    return {row.label: ((COLOURS | rest)[row.label], "-") for row in rows}


def _dashes(row: Row) -> str:
    return "--" if row.label == row.against else "-"


def _draw_course(axes: "Axes", cell: Cell, metric: str, along: Along, style: Style) -> None:
    # Without the first model, which not every method measures.
    runs = [[point for point in run.curve if point.round > 0] for run in cell.runs.values()]
    evaluations = list(zip(*runs, strict=False))
    at = [spread([getattr(one, along) for one in points]).mean for points in evaluations]
    found = [spread([getattr(one, metric) for one in points]) for points in evaluations]
    means = [one.mean for one in found]
    low = [one.mean - (one.deviation or 0) for one in found]
    high = [one.mean + (one.deviation or 0) for one in found]
    colour, dashes = style
    axes.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(at, means, color=colour, linestyle=dashes, linewidth=1.7, label=cell.row.label)


def _draw_intervals(axes: "Axes", own: Sequence[Cell]) -> None:
    measured = [cell for cell in own if cell.difference("accuracy", own) is not None]
    axes.axvline(0, color=FAINT, linewidth=1)
    for (metric, words), shift, colour in zip(
        METRICS.items(), (-0.16, 0.16), (COLOURS["fedgen"], COLOURS["fedprox"]), strict=True
    ):
        for place, cell in enumerate(measured):
            against = next(one for one in own if one.row.label == cell.row.against)
            found = cell.difference(metric, own)
            assert found is not None
            pairs = zip(cell.scores(metric), against.scores(metric), strict=True)
            seeds = [100 * (score - other) for score, other in pairs]
            at = place + shift
            if found.low is not None and found.high is not None:
                ends = 100 * found.low, 100 * found.high
                axes.plot(
                    ends, [at, at], color=colour, alpha=0.3, linewidth=6, solid_capstyle="butt"
                )
            axes.plot(seeds, [at] * len(seeds), "|", color=colour, markersize=8)
            label = words if place == 0 else None
            axes.plot(100 * found.mean, at, "o", color=colour, markersize=6, label=label)
    left, right = axes.get_xlim()
    if max(-left, right) > FAR * NEAR:  # one that is far behind must not hide all others
        axes.set_xscale("symlog", linthresh=NEAR)
        axes.set_xticks([-100, -50, -20, -10, -NEAR, -2, 0, 2, NEAR, 10, 20, 50, 100])
        axes.set_xlim(left, right)
        axes.xaxis.set_major_formatter(short_number)
    axes.set_yticks(range(len(measured)), [cell.row.label for cell in measured])
    axes.set_ylim(len(measured) - 0.5, -0.5)
    bases = {cell.row.against for cell in measured}
    base = bases.pop() if len(bases) == 1 else "fedavg with the same"
    axes.set_xlabel(f"percentage points more than {base}", color=FAINT)
    _tidy(axes)


def _tidy(axes: "Axes") -> None:
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """As many as fit into so many inches."""
    widest = 0.6 + 0.075 * max(map(len, labels))
    return max(1, min(len(labels), int(width / widest)))


def _explain(figure: "Figure", axes: "Axes") -> None:
    """One legend for all panels, under the title."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - 0.42 / figure.get_figheight()),
        ncols=legend_columns(labels, figure.get_figwidth()),
        frameon=False,
        fontsize=9.5,
        handlelength=1.4,
        columnspacing=1.2,
        borderaxespad=0.0,
    )


def _png(figure: "Figure") -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()

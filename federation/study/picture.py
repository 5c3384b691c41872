"""The study's pictures: learning curves by rounds and by traffic, and differences."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from covey.federation.study.cells import Cell
from covey.federation.study.record import METRICS, Record
from covey.federation.study.statistics import spread
from covey.platform.runs.panels import FAINT, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#374151", "#d97706", "#7c3aed", "#b91c1c", "#db7ba5", "#0f766e", "#2563a8", "#65a30d")
COLUMNS = 3
FAR = 5
"""Where traffic differs by more than this factor it is drawn on a logarithmic axis."""
Along = Literal["round", "megabytes"]
UNITS = {"round": "rounds", "megabytes": "MB up and down"}


def draw_curves(cells: Sequence[Cell], metric: str, along: Along) -> bytes:
    """A PNG with a panel for each setting: the mean over seeds, in a band of their deviation."""
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    title = f"{METRICS[metric].capitalize()}, by {UNITS[along]}"
    figure, panels = _panels(len(settings), title, 3.1)
    for setting, axes in zip(settings, panels, strict=True):
        own = [cell for cell in cells if cell.setting == setting]
        for cell, colour in zip(own, _colours(cells, own), strict=True):
            _draw_course(axes, cell, metric, along, colour)
        totals = [cell.megabytes for cell in own]
        if along == "megabytes" and max(totals) > FAR * min(totals):
            axes.set_xscale("log")
        axes.set_title(str(setting), fontsize=11, loc="left")
        axes.set_xlabel(UNITS[along], color=FAINT)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.xaxis.set_major_formatter(short_number)
        _tidy(axes)
    _explain(figure, panels[0])
    return _png(figure)


def draw_differences(cells: Sequence[Cell]) -> bytes:
    """A PNG with a panel for each setting: how far each row is from the one it is measured against,
    every seed and the interval of the mean, by both metrics.
    """
    settings = list(dict.fromkeys(cell.setting for cell in cells))
    most = max(sum(cell.setting == setting for cell in cells) for setting in settings)
    title = "Differences paired by seed, with 95 % t-intervals"
    figure, panels = _panels(len(settings), title, 1.0 + 0.42 * most)
    for setting, axes in zip(settings, panels, strict=True):
        own = [cell for cell in cells if cell.setting == setting]
        _draw_intervals(axes, own)
        axes.set_title(str(setting), fontsize=11, loc="left")
    _explain(figure, panels[0])
    return _png(figure)


def _panels(number: int, title: str, height: float) -> tuple["Figure", list["Axes"]]:
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    columns = min(number, COLUMNS)
    rows = -(-number // columns)
    size = max(4.4 * columns, 7.5), height * rows + 0.9
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.984, 1 - 0.82 / size[1]), hspace=0.06, wspace=0.04
    )
    figure.text(0.015, 1 - 0.14 / size[1], title, va="top", fontsize=14, fontweight="bold")
    return figure, [figure.add_subplot(rows, columns, 1 + place) for place in range(number)]


def _colours(cells: Sequence[Cell], own: Sequence[Cell]) -> list[str]:
    """A row has the same colour in every panel."""
    labels = list(dict.fromkeys(cell.row.label for cell in cells))
    return [COLOURS[labels.index(cell.row.label) % len(COLOURS)] for cell in own]


def _draw_course(axes: "Axes", cell: Cell, metric: str, along: Along, colour: str) -> None:
    runs = list(cell.runs.values())
    evaluations = range(1, min(len(run.curve) for run in runs))  # 0 is that of the first model
    at = [spread(_of(runs, along, place)).mean for place in evaluations]
    found = [spread(_of(runs, metric, place)) for place in evaluations]
    means = [one.mean for one in found]
    low = [one.mean - (one.deviation or 0) for one in found]
    high = [one.mean + (one.deviation or 0) for one in found]
    axes.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(at, means, color=colour, linewidth=1.7, label=cell.row.label)


def _of(runs: Sequence[Record], name: str, place: int) -> list[float]:
    return [getattr(run.curve[place], name) for run in runs]


def _draw_intervals(axes: "Axes", own: Sequence[Cell]) -> None:
    measured = [cell for cell in own if cell.difference("accuracy", own) is not None]
    axes.axvline(0, color=FAINT, linewidth=1)
    for (metric, words), shift, colour in zip(
        METRICS.items(), (-0.14, 0.14), (COLOURS[6], COLOURS[1]), strict=True
    ):
        for place, cell in enumerate(measured):
            against = next(one for one in own if one.row.label == cell.row.against)
            found = cell.difference(metric, own)
            assert found is not None
            pairs = zip(cell.scores(metric), against.scores(metric), strict=True)
            seeds = [100 * (score - other) for score, other in pairs]
            at = place + shift
            axes.plot(seeds, [at] * len(seeds), ".", color=colour, alpha=0.35, markersize=5)
            if found.low is not None and found.high is not None:
                axes.hlines(at, 100 * found.low, 100 * found.high, color=colour, linewidth=2)
            label = words if place == 0 else None
            axes.plot(100 * found.mean, at, "o", color=colour, markersize=5, label=label)
    names = [
        cell.row.label if cell.row.against == "fedavg" else f"{cell.row.label}" for cell in measured
    ]
    axes.set_yticks(range(len(measured)), names)
    axes.set_ylim(len(measured) - 0.5, -0.5)
    others = dict.fromkeys(cell.row.against for cell in measured)
    base = next(iter(others)) if len(others) == 1 else "fedavg"
    axes.set_xlabel(f"percentage points more than {base}", color=FAINT)
    _tidy(axes)


def _tidy(axes: "Axes") -> None:
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _explain(figure: "Figure", axes: "Axes") -> None:
    """One legend for all panels, under the title."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - 0.42 / figure.get_figheight()),
        ncols=len(labels),
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

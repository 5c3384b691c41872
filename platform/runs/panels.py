"""Panels of a run's pictures: what one shows, and how it is drawn. Which ones a run has is up to
`plots`, `live` or the workload.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = list[dict[str, float]]

LINE, OTHER, GOAL, FAINT = "#2563a8", "#0f766e", "#c2410c", "#6b7280"
COLOURS = (LINE, "#d97706", OTHER, "#7c3aed", "#b91c1c")
SHADES = ("#4f83bd", "#f0b95b", "#5fa39b", "#a58bd3", "#cf7a7a")
"""The same, for areas."""
FEW = 30
"""Fewer points than that are marked."""
SPIKE = 2.5
"""So many times as high as nine tenths of the others."""


@dataclass(frozen=True)
class Series:
    """One curve. `points`: measured now and then, so not joined. `band`: from where to where what
    it is the mean of reaches, drawn faintly behind it.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    points: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True)
class Panel:
    """Curves that are drawn together, or `stacked` areas that add up. `unit` is that of x; y has
    its own in the title.
    """

    title: str
    series: tuple[Series, ...]
    unit: str
    goal: float | None = None
    from_zero: bool = False
    stacked: bool = False


def course(lines: Lines, name: str, along: str = "step", label: str = "") -> Series:
    """A metric of the lines against another that only grows, where there are both."""
    found = [line for line in lines if name in line and along in line]
    return Series([line[along] for line in found], [line[name] for line in found], label)


def draw(axes: "Axes", panel: Panel, smooth: bool = False) -> None:
    """Draw a panel; many points, if they are to be smooth, faintly behind their smoothed course."""
    if panel.stacked:
        _draw_areas(axes, panel.series)
    else:
        for series, colour in zip(panel.series, COLOURS, strict=False):
            _draw_curve(axes, series, colour, smooth)
    if panel.goal is not None:
        label = f"stop at {panel.goal:g}"
        axes.axhline(panel.goal, color=GOAL, linestyle="--", linewidth=1.2, label=label)
    if panel.from_zero or panel.stacked:
        axes.set_ylim(bottom=0)
    axes.set_title(panel.title, fontsize=11, loc="left")
    _tidy(axes, panel)
    _explain(axes)


def draw_figure(panels: Sequence[Panel], title: str, detail: str) -> "Figure":
    """All panels as one picture; the unit of x is written once below each column if it can be."""
    # No pyplot: its list of open figures, and its windows, are nothing for a training process.
    from matplotlib.figure import Figure

    columns = min(len(panels), 3 if len(panels) > 4 else 2)
    rows = math.ceil(len(panels) / columns)
    height = 2.9 * rows + 0.8
    figure = Figure(figsize=(max(4.7 * columns, 6.5), height), layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.98, 1 - 0.62 / height), hspace=0.08, wspace=0.05
    )
    top = 1 - 0.14 / height
    figure.text(0.015, top, title, va="top", fontsize=14, fontweight="bold")
    figure.text(0.985, top, detail, va="top", ha="right", fontsize=9.5, color=FAINT)
    alike = len({panel.unit for panel in panels}) == 1
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw(axes, panel)
        if not alike or index + columns >= len(panels):
            axes.set_xlabel(panel.unit, color=FAINT)
    return figure


def smoothed(values: Sequence[float], span: float) -> list[float]:
    """Each value's mean with its neighbours on both sides, those `span` away counting 1/e."""
    before, after = _sums_so_far(values, span), _sums_so_far(values[::-1], span)[::-1]
    weights = _sums_so_far([1.0] * len(values), span)
    return [
        (left + right - value) / (left_weight + right_weight - 1)
        for left, right, value, left_weight, right_weight in zip(
            before, after, values, weights, weights[::-1], strict=True
        )
    ]


def short_number(value: float, _position: object = None) -> str:
    """A tick label: 50000 is "50k", 1500000 "1.5M", small numbers as they are."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _sums_so_far(values: Sequence[float], span: float) -> list[float]:
    keep = math.exp(-1 / span)
    return list(accumulate(values, lambda total, value: keep * total + value))


def _draw_curve(axes: "Axes", series: Series, colour: str, smooth: bool) -> None:
    x, y = series.x, series.y
    if series.points:
        axes.plot(x, y, "D", color=colour, markersize=4.5, label=series.label)
        return
    if series.band is not None:
        axes.fill_between(x, *series.band, color=colour, alpha=0.18, linewidth=0)
    few = len(x) < FEW
    if smooth and not few:
        axes.plot(x, y, color=colour, linewidth=1.0, alpha=0.3)
        y = smoothed(y, len(y) / 50)
    marker = "o" if few else ""
    axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=3.5, label=series.label)


def _draw_areas(axes: "Axes", series: Sequence[Series]) -> None:
    """Steps on top of each other, each as wide as its x is from the next; all have the same x."""
    x = series[0].x
    gaps = [later - earlier for earlier, later in pairwise(x)] or [1]
    edges = [x[0] - gaps[0] / 2, *(one + gap / 2 for one, gap in zip(x, gaps, strict=False))]
    edges = [*edges[: len(x)], x[-1] + gaps[-1] / 2]
    floor = [0.0] * len(x)
    for one, shade in zip(series, SHADES, strict=False):
        top = [below + value for below, value in zip(floor, one.y, strict=True)]
        axes.stairs(top, edges, baseline=floor, fill=True, color=shade, label=one.label)
        floor = top
    axes.set_xlim(edges[0], edges[-1])
    _cut_spikes(axes, floor)


def _cut_spikes(axes: "Axes", tops: Sequence[float]) -> None:
    """A few values far above the others are cut off, lest the others look like nothing."""
    limit = SPIKE * sorted(tops)[int(0.9 * (len(tops) - 1))]
    if len(tops) >= 5 and max(tops) > limit > 0:
        axes.set_ylim(top=limit)
        told = f"highest: {max(tops):.3g}"
        axes.text(0.99, 0.97, told, ha="right", va="top", transform=axes.transAxes, fontsize=8)


def _explain(axes: "Axes") -> None:
    """A legend for what has a label, in a strip of its own between the title and the curves."""
    _, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.985),
        ncols=len(labels),
        frameon=False,
        fontsize=8,
        handlelength=1.2,
        columnspacing=1.0,
        borderaxespad=0.0,
    )
    legend.set_in_layout(False)  # else a long one makes its panel narrow
    axes.set_title(axes.get_title(loc="left"), fontsize=11, loc="left", pad=18)


def _whole(values: Iterable[float]) -> bool:
    return all(float(value).is_integer() for value in values)


def _tidy(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    whole_x = _whole(value for series in panel.series for value in series.x)
    whole_y = panel.stacked and _whole(value for series in panel.series for value in series.y)
    for axis, whole in ((axes.xaxis, whole_x), (axes.yaxis, whole_y)):
        axis.set_major_locator(MaxNLocator(6, integer=whole, min_n_ticks=1 if whole else 2))
        axis.set_major_formatter(FuncFormatter(short_number))
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)

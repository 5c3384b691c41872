"""The picture of a run that goes on, `live.png`: returns large, meters and losses round them."""

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from covey.platform.runs.panels import FAINT, Lines, draw, short_number
from covey.platform.runs.plots import FIRST, metric_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "live.png"
WIDTH, HEIGHT, DPI = 1200, 800, 100

RETURN = "episode_return_mean"
METERS = (
    "sampling_hz",
    "update_frame_hz",
    "update_hz",
    "transfer_cycle_s",
    "weight_age",
    "loss_fraction",
    "cpu_percent",
    "gpu_percent",
)
"""Against time, so that a pause shows as one."""

COLUMNS, MOST_ROWS = 4, 4
LARGE = 2
"""Rows and columns of the returns' panel."""
MAX_POINTS = 1000
"""Of each curve: more than the picture has columns for one."""


def draw_live(history: Sequence[dict[str, float]], name: str, note: str = "") -> bytes:
    """A PNG of `WIDTH` x `HEIGHT` of the run's metrics lines up to now; `note` is written below."""
    lines = thinned(history)
    figure = _empty_figure(name, lines, note)
    small = choose_small(lines)
    rows = LARGE + max(0, math.ceil((len(small) - LARGE * (COLUMNS - LARGE)) / COLUMNS))
    # Fixed margins: a layout that measures all labels takes as long as drawing them.
    grid = figure.add_gridspec(
        rows, COLUMNS, left=0.04, right=0.988, bottom=0.075, top=0.91, wspace=0.2, hspace=0.52
    )
    draw(figure.add_subplot(grid[:LARGE, :LARGE]), metric_panel(RETURN, lines, ""), smooth=True)
    places = [
        (row, column)
        for row in range(rows)
        for column in range(COLUMNS)
        if row >= LARGE or column >= LARGE
    ]
    for metric, place in zip(small, places, strict=False):
        along, unit = ("wall_s", "s") if metric in METERS else ("step", "steps")
        axes = figure.add_subplot(grid[place])
        draw(axes, metric_panel(metric, lines, unit, along=along), smooth=True)
        axes.locator_params(nbins=4)
        axes.title.set_fontsize(9)
        axes.tick_params(labelsize=8)
        axes.set_xlabel(unit, fontsize=8, color=FAINT, labelpad=1)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def choose_small(lines: Lines) -> list[str]:
    """Meters and losses that the lines have: as many as there is room for, meters first."""
    found = {name for line in lines for name in line}
    meters = [name for name in METERS if name in found]
    losses = [name for name in found if name.endswith("loss")]
    others = [name for name in ("entropy", "temperature", "kl") if name in found]
    order = {name: place for place, name in enumerate(FIRST)}
    losses.sort(key=lambda name: (order.get(name, len(order)), name))
    room = MOST_ROWS * COLUMNS - LARGE * LARGE
    return (meters + losses + others)[:room]


def thinned(history: Sequence[dict[str, float]], most: int = MAX_POINTS) -> Lines:
    """At most `most` lines, each holding the newest figures of some neighbours; the last line's
    step stays.
    """
    together = max(1, math.ceil(len(history) / most))
    first = len(history) % together
    groups = [history[:first]] if first else []
    groups += [history[at : at + together] for at in range(first, len(history), together)]
    return [{name: line[name] for line in group for name in line} for group in groups]


def _empty_figure(name: str, lines: Lines, note: str) -> "Figure":
    # No pyplot: its list of open figures, and its windows, are nothing for a training process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.text(0.012, 0.985, name, va="top", fontsize=15, fontweight="bold")
    if lines:
        figure.text(0.988, 0.983, _headline(lines), va="top", ha="right", fontsize=11, color=FAINT)
    if note:
        figure.text(0.012, 0.008, note, va="bottom", fontsize=9, color=FAINT)
    return figure


def _headline(lines: Lines) -> str:
    """Where the run stands, in one line."""
    last = lines[-1]
    said = [f"step {last['step']:,.0f}", f"{last['wall_s']:,.0f} s"]
    if RETURN in last:
        said.append(f"return {last[RETURN]:,.1f}")
    if "sampling_hz" in last:
        said.append(f"{short_number(round(last['sampling_hz'], -2))} steps/s")
    if "update_hz" in last:
        said.append(f"{last['update_hz']:,.1f} updates/s")
    return "  ·  ".join(said)

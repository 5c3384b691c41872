"""The learning curves of a run as one picture, `curves.png`: a panel for each metric that
matters.
"""

import json
import math
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.durable import LEFTOVER
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = list[dict[str, float]]

MAX_PANELS = 6
FIRST = (
    "episode_return_mean",
    "accuracy",
    "evaluation_return_mean",
    "loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "sampling_hz",
)
"""Metrics in the order of their worth to somebody who glances at a run; others follow by name."""

UNITS = {"sampling_hz": "env steps/s", "episode_length_mean": "env steps"}
LINE, GOAL, FAINT = "#2563a8", "#c2410c", "#6b7280"


def plot_curves(run_dir: Path) -> Path:
    """Draw `curves.png` anew and return its path. UserError when there is nothing to draw yet."""
    folder = RunFolder.open(run_dir)
    job = folder.job()
    lines = read_metrics(folder.metrics)
    names = choose_panels(lines)
    if not names:
        raise UserError(f"{run_dir} holds no metrics yet: there is nothing to draw")
    figure = _draw(lines, names, job, _state(folder))
    beside = folder.curves.with_name(f".{folder.curves.name}.{os.getpid()}{LEFTOVER}")
    try:
        figure.savefig(beside, format="png", dpi=120)
        beside.replace(folder.curves)
    finally:
        beside.unlink(missing_ok=True)
    return folder.curves


def choose_panels(lines: Lines) -> list[str]:
    """The metrics to draw, best first: at most `MAX_PANELS`, none that only counts up or never
    moves.
    """
    found = {name for line in lines for name in line} - {"step", "wall_s"}
    first = [name for name in FIRST if name in found]
    others = sorted(name for name in found - set(first) if not _is_dull(name, lines))
    return (first + others)[:MAX_PANELS]


def short_number(value: float, _position: object = None) -> str:
    """A tick label: 50000 is "50k", 1500000 "1.5M", small numbers as they are."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _is_dull(name: str, lines: Lines) -> bool:
    values = [line[name] for line in lines if name in line]
    grows = all(later >= earlier for earlier, later in pairwise(values))
    return grows and all(float(value).is_integer() for value in values)


def _state(folder: RunFolder) -> str:
    try:
        return str(json.loads(folder.result.read_text())["state"])
    except (OSError, ValueError, LookupError, TypeError):
        return "running"


def _draw(lines: Lines, names: list[str], job: JobFile, state: str) -> "Figure":
    # No pyplot: its global list of figures, and the windows it may open, are nothing for a
    # training process.
    from matplotlib.figure import Figure

    columns = min(len(names), 3 if len(names) > 4 else 2)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(4.6 * columns + 0.4, 3.0 * rows + 0.7), layout="constrained")
    last = lines[-1]
    unit = "rounds" if job.stop.rounds is not None else "env steps"
    title = f"{job.name}: {state}"
    detail = f"{last['step']:,.0f} {unit} in {last['wall_s']:,.1f} s of training"
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.02, ha="left")
    figure.text(0.98, 0.985, detail, ha="right", va="top", color=FAINT, fontsize=10)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        _panel(axes, name, lines, getattr(job.stop, name, None))
        if index + columns >= len(names):
            axes.set_xlabel(unit.replace("env steps", "environment steps"))
    return figure


def _panel(axes: "Axes", name: str, lines: Lines, goal: float | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    points = [(line["step"], line[name]) for line in lines if name in line]
    steps, values = zip(*points, strict=True)
    axes.plot(
        steps,
        values,
        color=LINE,
        linewidth=1.6,
        marker="o" if len(points) < 30 else "",
        markersize=3,
    )
    if goal is not None:
        axes.axhline(goal, color=GOAL, linestyle="--", linewidth=1.2, label=f"stop at {goal:g}")
        axes.legend(loc="lower right", frameon=False, fontsize=9)
    unit = f" ({UNITS[name]})" if name in UNITS else ""
    axes.set_title(name.replace("_", " ") + unit, fontsize=11, loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=axis is axes.xaxis))
        axis.set_major_formatter(FuncFormatter(short_number))
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)

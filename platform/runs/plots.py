"""The learning curves of a run as one picture, `curves.png`: a panel for each metric that
matters.
"""

import math
import os
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.durable import LEFTOVER
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.result import read_result
from covey.platform.workload import find_workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = list[dict[str, float]]

MAX_PANELS = 6
FIRST = (
    "episode_return_mean",
    "accuracy",
    "loss",
    "train_loss",
    "policy_loss",
    "value_loss",
    "entropy",
    "sampling_hz",
    "round_s",
)
"""Metrics in the order of their worth to somebody who glances at a run; others follow by name."""

BESIDE = {"episode_return_mean": "evaluation_return_mean"}
"""What is drawn into another metric's panel: the same quantity, measured another way."""

TITLES = {
    "episode_return_mean": "episode return (mean of 100)",
    "episode_length_mean": "episode length (env steps)",
    "sampling_hz": "sampling rate (env steps/s)",
    "update_hz": "update rate (updates/s)",
    "update_frame_hz": "update frame rate (samples/s)",
    "transfer_cycle_s": "transfer cycle (s)",
    "loss_fraction": "samples lost (fraction)",
    "weight_age": "weight age (versions)",
    "cpu_percent": "CPU use (%, 100 a core)",
    "gpu_percent": "GPU use (%)",
    "round_s": "time a round (s)",
}
FROM_ZERO = ("_hz", "_s", "_percent", "_age", "_fraction")
"""Rates and times start at zero, so that noise does not look like change."""

LINE, OTHER, GOAL, FAINT = "#2563a8", "#0f766e", "#c2410c", "#6b7280"


def plot_curves(run_dir: Path) -> Path:
    """Draw `curves.png` anew and return its path. UserError when there is nothing to draw yet."""
    folder = RunFolder.open(run_dir)
    job = folder.job()
    lines = read_metrics(folder.metrics)
    names = choose_panels(lines)
    if not names:
        raise UserError(f"{run_dir} holds no metrics yet: there is nothing to draw")
    figure = _draw(lines, names, job, read_result(folder.path).get("state", "running"))
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
    rest = found - set(first) - {BESIDE[name] for name in first if name in BESIDE}
    others = sorted(name for name in rest if not _is_dull(name, lines))
    return (first + others)[:MAX_PANELS]


def smoothed(values: list[float], span: float) -> list[float]:
    """Each value's mean with its neighbours on both sides, those `span` away counting 1/e."""
    before, after = _sums_so_far(values, span), _sums_so_far(values[::-1], span)[::-1]
    ones = [1.0] * len(values)
    weights = _sums_so_far(ones, span)
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


def _sums_so_far(values: list[float], span: float) -> list[float]:
    keep = math.exp(-1 / span)
    return list(accumulate(values, lambda total, value: keep * total + value))


def _is_dull(name: str, lines: Lines) -> bool:
    values = [line[name] for line in lines if name in line]
    grows = all(later >= earlier for earlier, later in pairwise(values))
    return grows and all(float(value).is_integer() for value in values)


def _draw(lines: Lines, names: list[str], job: JobFile, state: str) -> "Figure":
    # No pyplot: its list of open figures, and its windows, are nothing for a training process.
    from matplotlib.figure import Figure

    columns = min(len(names), 3 if len(names) > 4 else 2)
    rows = math.ceil(len(names) / columns)
    height = 2.9 * rows + 0.8
    figure = Figure(figsize=(max(4.7 * columns, 6.5), height), layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.98, 1 - 0.62 / height), hspace=0.08, wspace=0.05
    )
    unit = find_workload(job.workload).step_unit.replace("env_", "environment ")
    last = lines[-1]
    detail = f"{last['step']:,.0f} {unit} in {last['wall_s']:,.1f} s of training"
    top = 1 - 0.14 / height
    figure.text(0.015, top, f"{job.name}: {state}", va="top", fontsize=14, fontweight="bold")
    figure.text(0.985, top, detail, va="top", ha="right", fontsize=10, color=FAINT)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_panel(axes, name, lines, getattr(job.stop, name, None))
        if index + columns >= len(names):
            axes.set_xlabel(unit, color=FAINT)
    return figure


def draw_panel(
    axes: "Axes",
    name: str,
    lines: Lines,
    goal: float | None = None,
    along: str = "step",
    smooth: bool = False,
) -> None:
    """One metric of `lines` against another that only grows, with what belongs beside it; many
    points, if they are to be smooth, faintly behind their smoothed course.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    steps, values = _points(lines, name, along)
    few = len(steps) < 30
    if smooth and not few:
        axes.plot(steps, values, color=LINE, linewidth=1.0, alpha=0.3)
        values = smoothed(values, len(values) / 50)
    axes.plot(steps, values, color=LINE, linewidth=1.6, marker="o" if few else "", markersize=3.5)
    beside = BESIDE.get(name, "")
    steps, values = _points(lines, beside, along)
    if steps:
        label = beside.split("_")[0]
        axes.plot(steps, values, "D", color=OTHER, markersize=4.5, label=label)
    if goal is not None:
        axes.axhline(goal, color=GOAL, linestyle="--", linewidth=1.2, label=f"stop at {goal:g}")
    if steps or goal is not None:
        axes.legend(loc="lower right", frameon=False, fontsize=9)
    if name.endswith(FROM_ZERO):
        axes.set_ylim(bottom=0)
    axes.set_title(TITLES.get(name, name.replace("_", " ")), fontsize=11, loc="left")
    for axis, whole in ((axes.xaxis, True), (axes.yaxis, False)):
        axis.set_major_locator(MaxNLocator(6, integer=whole))
        axis.set_major_formatter(FuncFormatter(short_number))
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _points(lines: Lines, name: str, along: str) -> tuple[list[float], list[float]]:
    found = [line for line in lines if name in line and along in line]
    return [line[along] for line in found], [line[name] for line in found]

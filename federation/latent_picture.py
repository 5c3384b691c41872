"""`latents.png`: the latents that FedGen's generator makes for each label, in the plane in which
they differ most, beside how good and how different they were round by round.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.panels import FAINT, Lines, Panel, course
from covey.platform.runs.panels import draw as draw_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, LATENTS = "latents.png", "latents.json"
"""The picture, and the table of which it is drawn: see `LatentSamples.table`."""
CURVES = {
    "generator_accuracy": "generator accuracy: taken for their label",
    "generator_spread": "generator spread: distance within a label / length",
}


def drawn_of(run_dir: Path) -> bytes | None:
    """The picture of a run folder as it is now; None when it has no generator."""
    table = run_dir / LATENTS
    if not table.exists():
        return None
    folder = RunFolder.open(run_dir)
    title = f"{folder.job().name}: what the generator makes"
    return draw(json.loads(table.read_bytes()), read_metrics(folder.metrics), title)


def draw(table: Mapping[str, Any], lines: Lines, title: str) -> bytes:
    """A PNG of what `LatentSamples.table` gives, and of the figures of all rounds."""
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 6.4), layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.984, 0.9), wspace=0.04, hspace=0.08
    )
    _title(figure, table, title)
    grid = figure.add_gridspec(len(CURVES), 2, width_ratios=(1.45, 1))
    _draw_points(figure.add_subplot(grid[:, 0]), table)
    for row, (name, what) in enumerate(CURVES.items()):
        axes = figure.add_subplot(grid[row, 1])
        curve = course(lines, name)
        draw_panel(axes, Panel(what, (curve,), "rounds"))
        high = 1.0 if name == "generator_accuracy" else max(curve.y, default=1.0)
        axes.set_ylim(0, 1.06 * high)
    axes.set_xlabel("round", color=FAINT)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def _title(figure: "Figure", table: Mapping[str, Any], title: str) -> None:
    labels, each = len(table["labels"]), len(table["points"][0])
    of = f"{labels} of {table['classes']}" if labels < table["classes"] else f"{labels}"
    detail = f"after round {table['round']:,}; {each} latents for each of {of} labels"
    figure.text(0.015, 0.975, title, va="top", fontsize=13, fontweight="bold")
    figure.text(0.985, 0.975, detail, va="top", ha="right", fontsize=10, color=FAINT)


def _draw_points(axes: "Axes", table: Mapping[str, Any]) -> None:
    """Each label in its colour with its name amid them; crosses are what is taken for another."""
    from matplotlib import colormaps
    from matplotlib.patheffects import withStroke

    palette = colormaps["tab10" if len(table["labels"]) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    wrong = 0
    for label, colour, of_label, taken in zip(
        table["labels"], palette, table["points"], table["taken"], strict=False
    ):
        points, right = np.array(of_label), np.array(taken) == label
        wrong += int((~right).sum())
        x, y = points.T
        axes.scatter(x[right], y[right], 16, color=colour, alpha=0.6, linewidths=0)
        axes.scatter(x[~right], y[~right], 22, color=colour, alpha=0.8, marker="x", linewidths=1.1)
        axes.annotate(
            str(label),
            np.median(points, 0),
            ha="center",
            va="center",
            fontsize=14,
            fontweight="bold",
            color=colour,
            path_effects=[withStroke(linewidth=3.5, foreground="white")],
        )
    told = f"; crosses: {wrong:,} taken for another" if wrong else ""
    axes.set_title(f"latents by label{told}", loc="left", fontsize=11)
    for name, share in zip("xy", table["share"], strict=True):
        place = "first" if name == "x" else "second"
        text = f"{place} principal component of {table['latent']} ({share:.0%} of the variance)"
        getattr(axes, f"set_{name}label")(text, color=FAINT)
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.set_aspect("equal", adjustable="datalim")

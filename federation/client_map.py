"""`clients.png`, a map of clients by rounds: how good the model was on each client's own data, if
that was measured, and what came of asking each client to train.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.client_rounds import ACCURACY, CLIENT_ROUNDS, FATES
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.panels import FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "clients.png"
NOTHING = "#eef0f3"
COLOURS = {"trained": "#7ba6d3", "dropped": "#f0a830", "failed": "#b91c1c", "refused": "#7c3aed"}


def drawn_of(run_dir: Path) -> bytes | None:
    """The map of a run folder as it is now; None when there is nothing to draw."""
    table = run_dir / CLIENT_ROUNDS
    if not table.exists():
        return None
    return draw(json.loads(table.read_bytes()), f"{RunFolder.open(run_dir).job().name}: clients")


def draw(table: Mapping[str, Any], title: str) -> bytes | None:
    """A PNG of what `ClientRounds.table` gives; None if no client was ever asked."""
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    drawn = [kind for kind in (_draw_accuracy, _draw_fates) if _has(table, kind)]
    if not drawn:
        return None
    rows = -(-table["clients"] // table["clients_a_row"])
    columns = -(-table["rounds"] // table["rounds_a_column"])
    size = min(14.0, max(8.0, 2.6 + 0.2 * columns)), 0.9 + len(drawn) * _map_height(rows)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.984, 1 - 0.6 / size[1])
    )
    _title(figure, table, title)
    maps = figure.subplots(len(drawn), squeeze=False, sharex=True)[:, 0]
    for axes, kind in zip(maps, drawn, strict=True):
        kind(axes, table)
        _scales(axes, table)
    maps[-1].set_xlabel("round", color=FAINT)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def accuracies(table: Mapping[str, Any]) -> NDArray[np.float64]:
    """[rows, columns]: the mean of a cell's accuracies; NaN where none was measured."""
    measured = np.array(table["measured"], float)
    total = np.array(table.get("accuracy", np.zeros_like(measured)), float)
    out = np.full(measured.shape, np.nan)
    np.divide(total, measured * ACCURACY, out=out, where=measured > 0)
    return out


def fates(table: Mapping[str, Any]) -> NDArray[np.int64]:
    """[rows, columns]: the place in `FATES` of what came of most who were asked, and of equally
    many the worst; -1 where nobody was.
    """
    shape = np.array(next(table[kind] for kind in FATES if kind in table)).shape
    counts = np.array([table.get(kind, np.zeros(shape)) for kind in FATES])
    worst_first = counts[::-1].argmax(0)
    found: NDArray[np.int64] = np.where(counts.any(0), len(FATES) - 1 - worst_first, -1)
    return found


def _has(table: Mapping[str, Any], kind: object) -> bool:
    return "measured" in table if kind is _draw_accuracy else any(fate in table for fate in FATES)


def _map_height(rows: int) -> float:
    return min(6.0, max(1.9, 0.8 + 0.17 * rows))


def _title(figure: "Figure", table: Mapping[str, Any], title: str) -> None:
    top = 1 - 0.14 / figure.get_figheight()
    figure.text(0.015, top, title, va="top", fontsize=13, fontweight="bold")
    detail = f"{table['clients']:,} clients, {table['rounds']:,} rounds"
    for count, of, where in (
        (table["clients_a_row"], "clients", "row"),
        (table["rounds_a_column"], "rounds", "column"),
    ):
        detail += f"; {count:,} {of} a {where}" if count > 1 else ""
    figure.text(0.985, top, detail, va="top", ha="right", fontsize=10, color=FAINT)


def _draw_accuracy(axes: "Axes", table: Mapping[str, Any]) -> None:
    from matplotlib import colormaps

    values = accuracies(table)
    low = np.floor(np.nanmin(values) * 10) / 10
    colours = colormaps["viridis"].with_extremes(bad=NOTHING)
    shown = axes.imshow(values, cmap=colours, vmin=low, vmax=max(np.nanmax(values), low + 0.1))
    several = table["clients_a_row"] > 1 or table["rounds_a_column"] > 1
    mean = "mean " if several else ""
    axes.set_title(f"{mean}accuracy of the model on clients' own data", loc="left", fontsize=11)
    axes.figure.colorbar(shown, ax=axes, pad=0.01, aspect=25, fraction=0.04)


def _draw_fates(axes: "Axes", table: Mapping[str, Any]) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    values = fates(table)
    colours = ListedColormap([NOTHING, *COLOURS.values()])
    axes.imshow(values, cmap=colours, vmin=-1, vmax=len(FATES) - 1, interpolation="nearest")
    several = table["clients_a_row"] > 1 or table["rounds_a_column"] > 1
    what = (
        "what came of most who were asked to train" if several else "what came of asking to train"
    )
    axes.set_title(what, loc="left", fontsize=11)
    there = {"not asked": NOTHING} if (values < 0).any() else {}
    there |= {fate: COLOURS[fate] for place, fate in enumerate(FATES) if (values == place).any()}
    axes.legend(
        handles=[Patch(color=colour, label=label) for label, colour in there.items()],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(there),
        frameon=False,
        fontsize=9,
        handlelength=1.0,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _scales(axes: "Axes", table: Mapping[str, Any]) -> None:
    """Rounds from 1 and clients from 0, whatever a row and a column stand for."""
    from matplotlib.ticker import MaxNLocator

    rows, columns = axes.images[0].get_array().shape[:2]  # type: ignore[union-attr]
    right = 0.5 + columns * table["rounds_a_column"]
    low = rows * table["clients_a_row"] - 0.5
    axes.images[0].set_extent((0.5, right, low, -0.5))
    axes.set_aspect("auto")
    axes.set_xlim(0.5, right)
    axes.set_ylabel("client", color=FAINT)
    axes.set_autoscale_on(False)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[:].set_visible(False)
    if max(rows, columns) <= 60:
        _draw_borders(axes, rows, columns)


def _draw_borders(axes: "Axes", rows: int, columns: int) -> None:
    """Thin lines between the cells, so that few of them can be counted."""
    left, right, low, high = axes.images[0].get_extent()
    axes.hlines(np.linspace(high, low, rows + 1), left, right, color="white", linewidth=0.8)
    axes.vlines(np.linspace(left, right, columns + 1), low, high, color="white", linewidth=0.8)

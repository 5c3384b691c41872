"""Who got what as a picture: a bar for each client's samples above a map of clients by classes."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.partition_table import PartitionTable
from covey.platform.runs.panels import FAINT, LINE, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 30
"""So many clients, or classes, are shown with their numbers. More clients are sorted."""
HELD_OUT = "#8fb4d6"


def draw(table: PartitionTable) -> bytes:
    """A PNG. The map's colours tell which share of a client's samples is of each class."""
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    clients, classes = table.counts.shape
    size = min(14.0, max(7.5, 2.4 + 0.42 * clients)), min(9.0, 3.6 + 0.27 * classes)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        rect=(0.008, 0.01, 0.984, 1 - 0.6 / size[1]), hspace=0.02
    )
    _title(figure, table)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.3, size[1] - 2.6))
    cells = figure.add_subplot(rows[1])
    sizes = figure.add_subplot(rows[0], sharex=cells)
    order = shown_order(table)
    _draw_sizes(sizes, table, order)
    _draw_cells(cells, table, order)
    figure.colorbar(
        cells.images[0],
        ax=[sizes, cells],
        label="share of a client's samples",
        format=lambda share, _: f"{share:.0%}",
        pad=0.01,
        aspect=35,
    )
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def shown_order(table: PartitionTable) -> NDArray[np.int64]:
    """The clients from left to right: many of them sorted by size where that is what differs, else
    by their most common class, its share, and the next class.
    """
    if len(table.counts) <= FEW:
        return np.arange(len(table.counts))
    if table.labels_alike:
        return np.argsort(-table.samples, kind="stable")
    shares = _shares(table).round(1)  # so that chance decides neither which class is first
    first = shares.argmax(1)
    rest = shares.copy()
    rest[np.arange(len(first)), first] = -1
    order: NDArray[np.int64] = np.lexsort((rest.argmax(1), -shares.max(1), first))
    return order


def _shares(table: PartitionTable) -> NDArray[np.float64]:
    """[clients, classes]: which share of a client's samples is of a class."""
    return table.counts / np.maximum(table.samples, 1)[:, None]


def _title(figure: "Figure", table: PartitionTable) -> None:
    clients, classes = table.counts.shape
    top = 1 - 0.14 / figure.get_figheight()
    name = f"{Path(table.data).name}: {clients:,} clients, {table.partition}"
    public = f", {table.public:,} more public" if table.public else ""
    detail = f"{table.samples.sum():,} samples{public}, {classes} classes"
    figure.text(0.015, top, name, va="top", fontsize=13, fontweight="bold")
    figure.text(0.985, top, detail, va="top", ha="right", fontsize=10, color=FAINT)


def _draw_sizes(axes: "Axes", table: PartitionTable, order: NDArray[np.int64]) -> None:
    from matplotlib.ticker import MaxNLocator

    whole, kept = table.samples[order], (table.samples - table.held_out)[order]
    few = len(order) <= FEW
    for values, colour, label in ((whole, HELD_OUT, "held out"), (kept, LINE, "to train on")):
        if few:
            axes.bar(range(len(order)), values, color=colour, label=label)
        else:
            edges = np.arange(len(order) + 1) - 0.5
            axes.stairs(values, edges, fill=True, color=colour, label=label)
    if few:
        for place, size in enumerate(whole):
            axes.text(place, size, _brief(size), ha="center", va="bottom", fontsize=7)
    if table.held_out.any():
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.0,
            frameon=False,
            fontsize=8,
            ncols=2,
        )
    axes.set_ylim(0, 1.3 * whole.max())
    axes.set_ylabel("samples", color=FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(short_number)
    axes.tick_params(colors=FAINT, labelsize=9, labelbottom=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.25)


def _draw_cells(axes: "Axes", table: PartitionTable, order: NDArray[np.int64]) -> None:
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.ticker import MaxNLocator

    shares = _shares(table)[order].T  # [classes, clients]
    colours = LinearSegmentedColormap.from_list("share", ["#ffffff", LINE, "#0b2545"])
    # The root makes a tenth visible: all that equal shares of 10 classes have.
    axes.imshow(
        shares, cmap=colours, norm=PowerNorm(0.5, 0, 1), aspect="auto", interpolation="nearest"
    )
    axes.set_ylabel("class", color=FAINT)
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(FEW, integer=True, steps=[1, 2, 5, 10]))
    if len(order) <= FEW:
        _name_clients(axes, table)
        if len(shares) <= FEW:
            _write_counts(axes, table.counts[order].T, shares)
        return
    by = "number of samples" if table.labels_alike else "most common class"
    axes.set_xlabel(f"clients, sorted by their {by}", color=FAINT)


def _name_clients(axes: "Axes", table: PartitionTable) -> None:
    names = [name if len(name) <= 12 else name[:11] + "…" for name in table.ids]
    axes.set_xticks(range(len(table.counts)), names or None)
    if any(len(name) > 3 for name in names):
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("client", color=FAINT)


def _write_counts(axes: "Axes", counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.15 else "black"
            axes.text(
                column, row, _brief(count), ha="center", va="center", fontsize=7, color=colour
            )


def _brief(count: "np.integer[Any]") -> str:
    return f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"

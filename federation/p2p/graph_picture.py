"""`graph.png`: the peers and their links, each peer in the colour of its accuracy."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from covey.federation.p2p.peers_table import PEERS
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.panels import FAINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "graph.png"
POINTS = {"accuracy_local": "before consensus", "accuracy": "after consensus"}
IN_CIRCLE = ("complete", "ring", "exponential", "directed-exponential", "one-peer-exponential")
MOST_LINKS = 20_000
"""More are not drawn: they would be one grey disc, for minutes."""
Places = NDArray[np.float64]


def drawn_of(run_dir: Path) -> bytes | None:
    """The graph of a run folder as it is now; None before the peers were measured."""
    table = run_dir / PEERS
    if not table.exists():
        return None
    job = RunFolder.open(run_dir).job()
    return draw(json.loads(table.read_bytes()), job.section.topology.kind, job.name)


def draw(table: Mapping[str, Any], kind: str, title: str) -> bytes:
    """A PNG of what `PeersTable` has encoded."""
    # No pyplot, as in the platform's plots.
    from matplotlib.figure import Figure

    points = [point for point in POINTS if point in table]
    graph = _graph(table)
    places = layout(graph, kind)
    values = [np.array(table[point]) for point in points]
    low, high = min(map(np.min, values)), max(map(np.max, values))
    figure = Figure(figsize=(5.6 * len(points) + 0.9, 6.2), layout="constrained")
    figure.get_layout_engine().set(rect=(0.008, 0.01, 0.984, 0.93))  # type: ignore[union-attr, call-arg]
    figure.text(0.015, 0.98, f"{title}: peers", va="top", fontsize=13, fontweight="bold")
    links = f"{len(graph):,} peers, {graph.number_of_edges():,} links ({kind})"
    detail = f"round {table['round']}; {links}"
    figure.text(0.985, 0.975, detail, va="top", ha="right", fontsize=9.5, color=FAINT)
    all_axes = figure.subplots(1, len(points), squeeze=False)[0]
    for axes, point, value in zip(all_axes, points, values, strict=True):
        _draw_links(axes, graph, places)
        dots = axes.scatter(
            places[:, 0],
            places[:, 1],
            c=value,
            s=_sizes(table["samples"]),
            cmap="viridis",
            vmin=low,
            vmax=max(high, low + 0.01),
            edgecolors="white",
            linewidths=0.6 if len(graph) <= 300 else 0,
            zorder=2,
        )
        spread = f"{value.min():.3f} to {value.max():.3f}"
        axes.set_title(f"accuracy {POINTS[point]}: {spread}", loc="left", fontsize=11)
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.colorbar(dots, ax=list(all_axes), pad=0.01, aspect=30, fraction=0.03)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def layout(graph: nx.Graph, kind: str) -> Places:
    """Where the peers stand: [K, 2], the same every time."""
    count = len(graph)
    if kind == "star":
        return np.vstack([np.zeros((1, 2)), _circle(count - 1)])
    if kind in IN_CIRCLE or not graph.number_of_edges():
        return _circle(count)
    if kind == "torus":
        rows = next(side for side in range(int(count**0.5), 0, -1) if count % side == 0)
        columns = count // rows
        return np.array([(n % columns, n // columns) for n in range(count)], float)
    found = nx.spring_layout(graph.to_undirected(), seed=0, k=2 / count**0.5)
    places = np.array([found[peer] for peer in range(count)])
    low, high = places.min(0), places.max(0)
    spread: Places = (places - low) / np.maximum(high - low, 1e-9)  # to fill a square
    return spread


def _circle(count: int) -> Places:
    angles = np.arange(count) * (2 * np.pi / max(1, count))
    return np.column_stack([np.sin(angles), np.cos(angles)])


def _graph(table: Mapping[str, Any]) -> nx.Graph:
    graph = nx.empty_graph(
        len(table["samples"]), create_using=nx.DiGraph if table["directed"] else nx.Graph
    )
    graph.add_edges_from(table["edges"])
    return graph


def _draw_links(axes: "Axes", graph: nx.Graph, places: Places) -> None:
    from matplotlib.collections import LineCollection

    edges = list(graph.edges)
    if not 0 < len(edges) <= MOST_LINKS:
        return
    strength = float(np.clip(60 / len(edges), 0.04, 0.6))
    segments = [places[list(edge)] for edge in edges]
    axes.add_collection(LineCollection(segments, colors=FAINT, alpha=strength, linewidths=0.9))


def _sizes(samples: list[int]) -> NDArray[np.float64]:
    """Areas of the dots by the peers' samples, so that few peers have large ones."""
    counts = np.array(samples, float)
    biggest = float(np.clip(9000 / len(counts), 14, 260))
    sizes: NDArray[np.float64] = biggest * (0.3 + 0.7 * counts / counts.max())
    return sizes

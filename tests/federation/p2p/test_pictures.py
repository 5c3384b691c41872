"""What people see of a run: panels, words, and the graph."""

from io import BytesIO
from typing import Any

import networkx as nx
import numpy as np
import pytest
from PIL import Image

from covey.federation.p2p.graph_picture import draw, drawn_of, layout
from covey.federation.p2p.shown import MB, headline, panels
from covey.platform.workload import Illustrated, find_workload

LINE = {"accuracy": 0.9, "accuracy_min": 0.8, "accuracy_max": 0.95, "bytes_per_peer": 2e6}


def lines(rounds: int) -> list[dict[str, float]]:
    local = {"accuracy_local": 0.7, "accuracy_local_min": 0.5, "accuracy_local_max": 0.9}
    first = {"step": 0.0, **LINE, "disagreement": 0.0}
    later = {**LINE, **local, "disagreement": 0.1, "disagreement_local": 0.3, "train_loss": 1.0}
    return [first, *({"step": float(n), **later} for n in range(1, rounds + 1))]


def test_panels_have_bands_and_both_points(parse: Any) -> None:
    found = panels(parse(job={"stop": {"rounds": 3, "accuracy": 0.97}}), lines(3))
    first = found[0]
    assert [one.label for one in first.series] == ["after consensus", "before"]
    assert first.goal == 0.97 and first.series[1].band == ([0.5] * 3, [0.9] * 3)
    assert first.series[0].band == ([0.8] * 4, [0.95] * 4)
    (traffic,) = (panel for panel in found if panel.unit == MB)
    assert traffic.series[0].x == [2, 4, 6, 8]
    assert len(found) == 6


def test_nothing_measured_has_no_panels(parse: Any) -> None:
    assert panels(parse(), []) == []


def test_words_of_where_a_run_stands() -> None:
    said = headline({**LINE, "disagreement": 0.0123})
    assert said == ["worst peer 0.8", "disagreement 0.0123", "2 MB a peer"]


def table(graph: nx.Graph, accuracies: np.ndarray) -> dict[str, Any]:
    return {
        "samples": [10] * len(graph),
        "round": 3,
        "accuracy": accuracies.tolist(),
        "directed": graph.is_directed(),
        "edges": [list(edge) for edge in graph.edges],
    }


def pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture)).convert("RGB")).reshape(-1, 3)


def test_peers_have_the_colour_of_their_accuracy() -> None:
    """Viridis goes from dark violet to yellow."""
    low, high = np.array([68, 1, 84]), np.array([253, 231, 36])

    def has(picture: bytes, colour: np.ndarray) -> int:
        return int((abs(pixels(picture) - colour).max(1) < 4).sum())

    graph = nx.cycle_graph(12)
    alike = draw(table(graph, np.full(12, 0.5)), "ring", "test")
    mixed = draw(table(graph, np.linspace(0.1, 0.9, 12)), "ring", "test")
    assert has(mixed, high) > has(alike, high) + 300
    assert has(alike, low) > has(mixed, low) + 3000


@pytest.mark.parametrize("kind", ["ring", "star", "torus", "erdos-renyi", "file", "complete"])
def test_no_two_peers_stand_in_one_place(kind: str) -> None:
    places = layout(nx.gnp_random_graph(12, 0.3, seed=1), kind)
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.eye(12)
    assert places.shape == (12, 2) and apart.min() > 0.02
    np.testing.assert_array_equal(places, layout(nx.gnp_random_graph(12, 0.3, seed=1), kind))


@pytest.mark.parametrize(
    "topology", [{"kind": "star"}, {"kind": "one-peer-exponential"}], ids=lambda one: one["kind"]
)
def test_a_run_draws_its_graph(train: Any, topology: dict[str, Any]) -> None:
    run = train(rounds=2, topology=topology, weights="uniform")
    workload = find_workload("peer-to-peer")
    assert isinstance(workload, Illustrated)
    (picture,) = workload.pictures(run.path).values()
    width, height = Image.open(BytesIO(picture)).size
    assert width > 1000 and height > 500 and pixels(picture).std() > 10


def test_nothing_is_drawn_before_the_first_evaluation(create: Any) -> None:
    assert drawn_of(create()) is None

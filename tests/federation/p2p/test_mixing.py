"""Mixing matrices and agreement, against what can be said of them with certainty."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.federation.p2p.mixing import (
    KINDS,
    max_norm_sync,
    mixing_matrix,
    push_matrix,
    second_eigenvalue,
)

RANDOM = nx.convert_node_labels_to_integers(nx.barabasi_albert_graph(17, 2, seed=3))
SIZES = np.random.default_rng(0).integers(1, 90, 17)


def torus(side: int) -> nx.Graph:
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(side, side, periodic=True))


def stationary(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eig(matrix.T)
    found = np.real(vectors[:, np.argmin(abs(values - 1))])
    return found / found.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_add_up_to_1_and_are_zero_beyond_neighbours(kind: str) -> None:
    matrix = mixing_matrix(RANDOM, kind, SIZES)
    assert matrix.dtype == np.float64 and (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-15)
    beyond = nx.to_numpy_array(RANDOM) + np.eye(17) == 0
    assert beyond.any() and (matrix[beyond] == 0).all()


@pytest.mark.parametrize("kind", ["metropolis", "max-degree"])
def test_symmetric_weights_keep_the_mean(kind: str) -> None:
    matrix = mixing_matrix(RANDOM, kind)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(stationary(matrix), 1 / 17, atol=1e-12)


def test_metropolis_entries_by_hand() -> None:
    path = nx.path_graph(3)
    third = 1 / 3
    expected = [[2 * third, third, 0], [third, third, third], [0, third, 2 * third]]
    np.testing.assert_allclose(mixing_matrix(path, "metropolis"), expected, atol=1e-15)
    star = mixing_matrix(nx.star_graph(3), "max-degree")
    assert star[0].tolist() == [0.25] * 4 and star[1].tolist() == [0.25, 0.75, 0, 0]


def test_data_size_weights_lean_to_the_well_connected() -> None:
    """pi_k proportional to n_k times the sum of n over k and its neighbours (detailed balance)."""
    around = nx.to_numpy_array(RANDOM) + np.eye(17)
    expected = SIZES * (around @ SIZES)
    found = stationary(mixing_matrix(RANDOM, "data-size", SIZES))
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-12)


def test_uniform_weights_lean_to_degrees() -> None:
    expected = np.array([degree + 1 for _, degree in RANDOM.degree])
    found = stationary(mixing_matrix(RANDOM, "uniform"))
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-12)


def test_the_hub_of_a_star_weighs_33_times_the_mean() -> None:
    found = stationary(mixing_matrix(nx.star_graph(99), "uniform"))
    assert found[0] * 100 == pytest.approx(33.6, abs=0.05)


def test_a_complete_graph_with_sizes_is_fedavg() -> None:
    params = np.random.default_rng(1).normal(size=(17, 5))
    matrix = mixing_matrix(nx.complete_graph(17), "data-size", SIZES)
    expected = np.average(params, axis=0, weights=SIZES)
    np.testing.assert_allclose(matrix @ params, np.tile(expected, (17, 1)), atol=1e-14)


@pytest.mark.parametrize(
    ("graph", "metropolis", "uniform"),
    [
        (nx.complete_graph(100), 0.0, 0.0),
        (nx.cycle_graph(100), 0.99868, 0.99868),
        (nx.star_graph(99), 0.990, 0.500),
        (torus(10), 0.9236, 0.9236),
        (nx.cycle_graph(10), 0.8727, 0.8727),
        (nx.star_graph(9), 0.900, 0.500),
    ],
)
def test_second_eigenvalues(graph: nx.Graph, metropolis: float, uniform: float) -> None:
    digits = 5e-4 if metropolis in (0.990, 0.900) else 5e-5 if metropolis < 0.99 else 5e-6
    assert second_eigenvalue(mixing_matrix(graph, "metropolis")) == pytest.approx(
        metropolis, abs=digits
    )
    assert second_eigenvalue(mixing_matrix(graph, "uniform")) == pytest.approx(uniform, abs=digits)


def test_second_eigenvalue_is_a_modulus() -> None:
    assert second_eigenvalue(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(1)
    turning = np.roll(np.eye(3), 1, axis=1)
    assert second_eigenvalue(turning) == pytest.approx(1)
    assert second_eigenvalue(np.ones((1, 1))) == 0


def test_two_components_have_no_gap() -> None:
    graph = nx.disjoint_union(nx.complete_graph(3), nx.complete_graph(3))
    assert second_eigenvalue(mixing_matrix(graph, "metropolis")) == pytest.approx(1)


@pytest.mark.parametrize(("graph", "diameter"), [(nx.cycle_graph(100), 50), (torus(10), 10)])
def test_the_longest_vector_takes_the_eccentricity_to_everybody(
    graph: nx.Graph, diameter: int
) -> None:
    params = np.random.default_rng(2).normal(size=(100, 3))
    winner = np.linalg.norm(params, axis=1).argmax()
    found, rounds = max_norm_sync(params, graph)
    np.testing.assert_array_equal(found, np.tile(params[winner], (100, 1)))
    assert rounds == nx.eccentricity(graph, winner) == diameter


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 14), st.integers(0, 2**31), st.floats(0.1, 1))
def test_any_connected_graph_agrees_within_its_diameter(count: int, seed: int, p: float) -> None:
    graph = nx.gnp_random_graph(count, p, seed=seed)
    rng = np.random.default_rng(seed)
    params = rng.integers(-1, 2, (count, 2)).astype(np.float32)  # with many ties
    found, rounds = max_norm_sync(params, graph)
    norms = (params.astype(float) ** 2).sum(1)
    for component in nx.connected_components(graph):
        winner = min(component, key=lambda peer: (-norms[peer], peer))
        assert (found[sorted(component)] == params[winner]).all()
    assert found.dtype == np.float32
    if nx.is_connected(graph):
        assert rounds <= nx.diameter(graph)


def test_ties_go_to_the_lowest_number() -> None:
    params = np.array([[0.0, 1.0], [3.0, 4.0], [5.0, 0.0], [0.0, -5.0]])
    found, rounds = max_norm_sync(params, nx.path_graph(4))
    assert (found == [3.0, 4.0]).all() and rounds == 2


def test_who_agrees_needs_no_exchange() -> None:
    assert max_norm_sync(np.ones((5, 2)), nx.cycle_graph(5))[1] == 0


def test_every_component_has_its_winner() -> None:
    graph = nx.disjoint_union(nx.path_graph(3), nx.path_graph(2))
    found, rounds = max_norm_sync(np.arange(5.0)[:, None] + 1, graph)
    assert found[:, 0].tolist() == [3, 3, 3, 5, 5] and rounds == 2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_does_not_win(wrong: float) -> None:
    params = np.ones((3, 2))
    params[1, 0] = wrong
    with pytest.raises(ValueError, match="peer 1"):
        max_norm_sync(params, nx.path_graph(3))


def test_a_directed_graph_is_heard_one_way() -> None:
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)])
    uniform = mixing_matrix(graph, "uniform")
    third, half = 1 / 3, 1 / 2
    np.testing.assert_allclose(uniform, [[half, 0, half], [half, half, 0], [third, third, third]])
    push = push_matrix(graph)
    np.testing.assert_allclose(push.sum(0), 1)
    np.testing.assert_allclose(push[:, 0], third)
    with pytest.raises(ValueError, match="undirected"):
        mixing_matrix(graph, "metropolis")


def test_who_has_nothing_keeps_what_it_has() -> None:
    graph = nx.path_graph(4)
    matrix = mixing_matrix(graph, "data-size", [0, 0, 0, 6])
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("graph", "kind", "sizes", "said"),
    [
        (nx.path_graph(3), "data-size", None, "need the sizes"),
        (nx.path_graph(3), "data-size", [1, 2], "2 sizes for 3"),
        (nx.path_graph(3), "data-size", [1, -2, 3], "from 0"),
        (nx.path_graph(3), "hastings", None, "no weights are called"),
        (nx.Graph([("a", "b")]), "uniform", None, "0..K-1"),
        (nx.Graph([(0, 0), (0, 1)]), "uniform", None, "own neighbour"),
    ],
)
def test_what_cannot_be_is_refused(
    graph: nx.Graph, kind: str, sizes: list[int] | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        mixing_matrix(graph, kind, sizes)

"""Mixing matrices, and the two ways of peers to agree: averaging with neighbours again and again,
and taking over the longest vector.

Pure functions of a networkx graph whose nodes are 0..K-1. In a directed graph an edge (j, i) lets i
hear j. A matrix says in row i what peer i makes of what it hears: w_i <- sum_j W_ij w_j.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

import networkx as nx  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from covey.federation.p2p.topology_section import WeightKind

KINDS = get_args(WeightKind)
Floats = NDArray[np.float64]


def mixing_matrix(graph: nx.Graph, kind: str, sizes: Sequence[float] | None = None) -> Floats:
    """A row-stochastic matrix [K, K] for the graph, N_i+ the neighbours of i with i itself:

    data-size: n_j / sum over N_i+ of n, with `sizes` [K] the n (of P2PL, arXiv 2310.18861); a peer
    alone among such as have nothing keeps its vector. uniform: 1 / |N_i+|. metropolis:
    1 / (1 + max(d_i, d_j)), the rest its own; max-degree: 1 / (1 + d_max), the rest its own. These
    two are symmetric, and so doubly stochastic (Xiao, Boyd 2004), on undirected graphs; metropolis
    is only for those. ValueError for what cannot be.
    """
    heard = hears(graph)
    degrees: Floats = heard.sum(1)
    own = np.eye(len(heard))
    around = heard + own
    match kind:
        case "uniform":
            return around / (degrees + 1)[:, None]
        case "data-size":
            return _by_size(around, sizes)
        case "metropolis" if graph.is_directed():
            raise ValueError("metropolis weights need an undirected graph")
        case "metropolis":
            return _with_rest(heard / (1 + np.maximum(degrees[:, None], degrees)))
        case "max-degree":
            return _with_rest(heard / (1 + degrees.max()))
    raise ValueError(f"no weights are called {kind!r}; there are {', '.join(KINDS)}")


def push_matrix(graph: nx.Graph) -> Floats:
    """A column-stochastic matrix [K, K] for push-sum (Assran et al. 2019): every peer parts
    what it has equally among itself and those who hear it.
    """
    heard = hears(graph)
    parts: Floats = heard.sum(0) + 1
    return (heard + np.eye(len(heard))) / parts


def hears(graph: nx.Graph) -> Floats:
    """[K, K]: 1 where the row's peer hears the column's, 0 elsewhere and on the diagonal.

    ValueError unless the nodes are 0..K-1 and none is its own neighbour.
    """
    count = graph.number_of_nodes()
    if count == 0 or set(graph.nodes) != set(range(count)):
        raise ValueError("the nodes of the graph must be 0..K-1")
    matrix = np.zeros((count, count))
    if graph.number_of_edges():
        senders, hearers = np.array(list(graph.edges)).T
        matrix[hearers, senders] = 1
        if not graph.is_directed():
            matrix[senders, hearers] = 1
    if matrix.trace():
        raise ValueError("a peer is its own neighbour in the graph")
    return matrix


def second_eigenvalue(W: Floats) -> float:
    """The modulus of the second largest eigenvalue: what an averaging step leaves of a disagreement
    in the long run. 1 minus it is the spectral gap. 0 for a single peer.
    """
    if len(W) < 2:
        return 0.0
    values = np.linalg.eigvalsh(W) if (W == W.T).all() else np.linalg.eigvals(W)
    return float(np.sort(np.abs(values))[-2])


def max_norm_sync(params: NDArray[Any], graph: nx.Graph) -> tuple[NDArray[Any], int]:
    """Every peer takes over the longest vector (2-norm) that it hears, again and again: params
    [K, D] -> ([K, D], the number of exchanges after which nothing changed any more).

    In a connected graph all then have the same vector, after as many exchanges as the owner is away
    from the farthest peer; in one that is not, every component has a winner of its own. Of equally
    long vectors that of the peer with the lowest number wins. ValueError for numbers that are not
    finite: an infinite norm would always win.
    """
    params = np.asarray(params)
    order = ranks(params)
    heard = hears(graph)
    if len(heard) != len(params):
        raise ValueError(f"{len(params)} vectors for a graph of {len(heard)} peers")
    around = [np.flatnonzero(row + own) for row, own in zip(heard, np.eye(len(heard)), strict=True)]
    owner, rounds = first_equals(params, order), 0
    while True:
        after = np.array([min(owner[near], key=lambda one: order[one]) for near in around])
        if (after == owner).all():
            return params[owner], rounds
        owner, rounds = after, rounds + 1


def ranks(params: NDArray[Any]) -> NDArray[np.int64]:
    """[K]: 0 for the peer whose vector wins against all others, and so on."""
    norms = lengths(params)
    found = np.empty(len(norms), np.int64)
    found[np.lexsort((np.arange(len(norms)), -norms))] = np.arange(len(norms))
    return found


def lengths(params: NDArray[Any]) -> Floats:
    """The 2-norm of each row, in float64. ValueError for one that is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.array([np.linalg.norm(row.astype(np.float64)) for row in params])
    for peer, norm in enumerate(norms):
        if not np.isfinite(norm):
            raise ValueError(f"the vector of peer {peer} is not finite, or too long for a norm")
    return norms


def first_equals(params: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """[K]: for each peer the first one in the order that has the same vector."""
    found = np.arange(len(params))
    ordered = np.argsort(order)
    for before, after in pairwise(ordered):
        if np.array_equal(params[before], params[after]):
            found[after] = found[before]
    return found


def _by_size(around: Floats, sizes: Sequence[float] | None) -> Floats:
    if sizes is None:
        raise ValueError("data-size weights need the sizes")
    counts = np.asarray(sizes, np.float64)
    if counts.shape != (len(around),):
        raise ValueError(f"{counts.size} sizes for {len(around)} peers")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("sizes must be finite numbers from 0")
    weights = around * counts
    sums = weights.sum(1)
    alone = np.flatnonzero(sums == 0)
    weights[alone, alone] = 1
    return weights / np.where(sums > 0, sums, 1)[:, None]


def _with_rest(weights: Floats) -> Floats:
    """What is left to 1 in each row goes on the diagonal."""
    np.fill_diagonal(weights, 1 - weights.sum(1))
    return weights

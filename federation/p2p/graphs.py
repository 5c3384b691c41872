"""The graphs of a topology by their kinds; peers are the nodes 0..K-1. ValueError for what cannot
be.
"""

from math import ceil, isqrt, log2

import networkx as nx  # type: ignore[import-untyped]

from covey.federation.p2p.graph_file import read_graph
from covey.federation.p2p.topology_section import DRAWN, TopologySection
from covey.platform.seeds import derive_int

DRAWS = 1000
"""So often a graph is drawn until it is connected."""


def make_graph(topology: TopologySection, peers: int, seed: int, number: int = 0) -> nx.Graph:
    """The whole graph, all links up; `number` counts the drawn ones. Of one-peer-exponential it has
    what is linked in any round.
    """
    match topology.kind:
        case "complete":
            return nx.complete_graph(peers)
        case "ring":
            return nx.path_graph(peers) if peers < 3 else nx.cycle_graph(peers)
        case "star":
            return nx.star_graph(peers - 1)
        case "torus":
            return _torus(peers)
        case "exponential":
            return exponential(peers).to_undirected()
        case "directed-exponential" | "one-peer-exponential":
            return exponential(peers)
        case "file":
            assert topology.path is not None  # the section is resolved
            return read_graph(topology.path, peers)
    return _drawn(topology, peers, seed, number)


def exponential(peers: int) -> nx.DiGraph:
    """Edges from each to those 1, 2, 4, ... further in a circle (Assran et al. 2019)."""
    graph = nx.empty_graph(peers, create_using=nx.DiGraph)
    for turn in range(turns(peers)):
        graph.add_edges_from(one_peer(peers, turn))
    return graph


def one_peer(peers: int, turn: int) -> list[tuple[int, int]]:
    """The edges of one turn: from each to the one 2^(turn mod ceil(log2 K)) further."""
    if peers == 1:
        return []
    hop = 2 ** (turn % turns(peers))
    return [(peer, (peer + hop) % peers) for peer in range(peers)]


def turns(peers: int) -> int:
    """How many hops there are: ceil(log2 K)."""
    return ceil(log2(peers)) if peers > 1 else 0


def _torus(peers: int) -> nx.Graph:
    rows = next(side for side in range(isqrt(peers), 0, -1) if peers % side == 0)
    if rows < 2:
        raise ValueError(f"no torus has {peers} peers: write a product of two numbers from 2")
    grid = nx.grid_2d_graph(rows, peers // rows, periodic=True)
    return nx.convert_node_labels_to_integers(grid)


def _drawn(topology: TopologySection, peers: int, seed: int, number: int) -> nx.Graph:
    assert topology.kind in DRAWN
    for attempt in range(DRAWS):
        graph = _one_draw(topology, peers, derive_int(seed, "topology", number, attempt))
        if not topology.connected or nx.is_connected(graph):
            return graph
    raise ValueError(
        f"none of {DRAWS} graphs that were drawn was connected; write more links or connected: "
        "false"
    )


def _one_draw(topology: TopologySection, peers: int, seed: int) -> nx.Graph:
    if topology.kind == "erdos-renyi":
        return nx.gnp_random_graph(peers, topology.p, seed=seed)
    degree = topology.degree
    assert degree is not None
    if degree >= peers or degree * peers % 2:
        raise ValueError(
            f"no graph of {peers} peers has {degree} neighbours for each: degree must be less than "
            "peers, and one of the two even"
        )
    return nx.random_regular_graph(degree, peers, seed=seed)

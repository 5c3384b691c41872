"""Mixing that bears neighbours who lie."""

import networkx as nx
import numpy as np

from covey.federation.p2p.links import links_of
from covey.federation.p2p.methods import P2pl
from covey.federation.p2p.mixing import mixing_matrix
from covey.federation.p2p.robust import SelfCentredClipping, TrimmedMean

PEERS = 9
FIRST = np.random.default_rng(7).normal(size=(PEERS, 23))


def test_trimming_bears_liars() -> None:
    graph = nx.complete_graph(PEERS)
    links = links_of(graph, mixing_matrix(graph, "uniform"))
    sent = FIRST.copy()
    sent[3], sent[5] = 1e9, -1e9
    method = P2pl(FIRST.copy(), combine=TrimmedMean(2))
    method.receive({"vector": sent}, links, 1)
    expected = np.sort(sent, axis=0)[2:7].mean(0)
    np.testing.assert_allclose(method.params, np.tile(expected, (PEERS, 1)))


def test_clipping_bounds_what_a_neighbour_can_do() -> None:
    graph = nx.complete_graph(PEERS)
    links = links_of(graph, mixing_matrix(graph, "uniform"))
    sent = FIRST.copy()
    sent[3] = 1e9
    method = P2pl(FIRST.copy(), combine=SelfCentredClipping(1.0))
    method.receive({"vector": sent}, links, 1)
    moved = np.linalg.norm(method.params - FIRST, axis=1)
    assert (moved <= 8 / 9 + 1e-9).all() and moved[0] > 0.1
    wide = P2pl(FIRST.copy(), combine=SelfCentredClipping(1e6))
    wide.receive({"vector": FIRST}, links, 1)
    np.testing.assert_allclose(wide.params, np.tile(FIRST.mean(0), (PEERS, 1)), atol=1e-13)

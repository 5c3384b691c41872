"""The methods' arithmetic on quadratic objectives, whose fixed points are known in closed form."""

from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest

from covey.federation.p2p.compressors import Quantised, RandomK, TopK
from covey.federation.p2p.links import Links, links_of
from covey.federation.p2p.messages import message_bytes
from covey.federation.p2p.methods import Choco, Dpsgd, Method, P2pl, Push
from covey.federation.p2p.mixing import mixing_matrix
from covey.federation.p2p.robust import SelfCentredClipping, TrimmedMean
from covey.federation.p2p.topology import matching

PEERS, SIZE, RATE = 9, 23, 0.1
GRAPH = nx.gnp_random_graph(PEERS, 0.4, seed=8)
DIRECTED = nx.DiGraph([(i, (i + 1) % PEERS) for i in range(PEERS)] + [(0, 4), (2, 7), (0, 2)])
SIZES = np.arange(1, PEERS + 1)
rng = np.random.default_rng(7)
CURVES = rng.uniform(0.5, 2, (PEERS, SIZE))  # of each peer's objective, by coordinate
AIMS = rng.normal(size=(PEERS, SIZE))
FIRST = rng.normal(size=(PEERS, SIZE))
MATRIX = mixing_matrix(GRAPH, "data-size", SIZES)
METROPOLIS = mixing_matrix(GRAPH, "metropolis")

Make = Callable[[np.ndarray, Links], Method]
MAKES: dict[str, Make] = {
    "p2pl": lambda w, links: P2pl(w),
    "p2pl, 3 steps, damped": lambda w, links: P2pl(w, 3, 0.7),
    "affinity": lambda w, links: P2pl(w, 2, 0.9, affinity=True),
    "d-psgd": lambda w, links: Dpsgd(w),
    "push": lambda w, links: Push(w),
    "top-k": lambda w, links: Choco(w, links, 0.2, TopK(0.2), False),
    "random-k": lambda w, links: Choco(w, links, 0.2, RandomK(0.2, 5), False),
    "quantised": lambda w, links: Choco(w, links, 0.4, Quantised(5), False),
    "trimmed": lambda w, links: P2pl(w, combine=TrimmedMean(1)),
    "clipped": lambda w, links: P2pl(w, combine=SelfCentredClipping()),
    "clipped to a radius": lambda w, links: Dpsgd(w, combine=SelfCentredClipping(0.5)),
}


def descend(method: Method, peers: Sequence[int], steps: int = 1, lean: float = 0.0) -> None:
    bias = method.pull()
    for _ in range(steps):
        method.params -= RATE * CURVES[peers] * (method.params - AIMS[peers])
        if bias is not None:
            method.params += lean / steps * bias


def play(
    make: Make,
    rounds: int,
    graph: nx.Graph = GRAPH,
    matrix: np.ndarray = MATRIX,
    steps: int = 1,
    first: np.ndarray = FIRST,
) -> Method:
    links = links_of(graph, matrix)
    method = make(first.copy(), links)
    for round_ in range(1, rounds + 1):
        method.begin()
        descend(method, range(PEERS), steps)
        for _ in range(method.exchanges):
            method.receive(method.send(links, round_), links, round_)
    return method


@pytest.mark.parametrize("name", MAKES)
def test_a_peer_alone_computes_what_it_has_among_all(name: str) -> None:
    """Real peers, that know nothing but what they hear, against one program of all."""
    graph = DIRECTED if name == "push" else GRAPH
    matrix = np.ones((PEERS, PEERS)) if name == "push" else MATRIX
    if MAKES[name] in [MAKES[kind] for kind in ("top-k", "random-k", "quantised")]:
        matrix = METROPOLIS
    together = play(MAKES[name], 6, graph, matrix, steps=2)
    links = [links_of(graph, matrix, peer) for peer in range(PEERS)]
    alone = [MAKES[name](FIRST[peer : peer + 1].copy(), links[peer]) for peer in range(PEERS)]
    for round_ in range(1, 7):
        for peer, method in enumerate(alone):
            method.begin()
            descend(method, [peer], 2)
        for _ in range(alone[0].exchanges):
            sent = [one.send(theirs, round_) for one, theirs in zip(alone, links, strict=True)]
            sent = [{key: value.copy() for key, value in one.items()} for one in sent]
            for theirs, method in zip(links, alone, strict=True):
                heard = [sent[sender] for sender in theirs.senders]
                stacked = {key: np.concatenate([one[key] for one in heard]) for key in heard[0]}
                method.receive(stacked, theirs, round_)
    found = np.concatenate([method.params for method in alone])
    np.testing.assert_allclose(found, together.params, rtol=0, atol=1e-10)
    assert abs(together.params - FIRST).max() > 0.1


def fixed_point(mixed: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of w = mixed w - before A (w - c), coordinate by coordinate."""
    found = np.empty_like(AIMS)
    for place in range(SIZE):
        curved = RATE * before * CURVES[:, place]
        found[:, place] = np.linalg.solve(np.eye(PEERS) - mixed + curved, curved @ AIMS[:, place])
    return found


def test_the_fixed_point_of_dpsgd() -> None:
    found = play(MAKES["d-psgd"], 900, matrix=METROPOLIS).params
    np.testing.assert_allclose(found, fixed_point(METROPOLIS, np.eye(PEERS)), atol=1e-12)


def test_the_fixed_point_of_adapt_then_combine() -> None:
    found = play(MAKES["p2pl"], 900, matrix=METROPOLIS).params
    np.testing.assert_allclose(found, fixed_point(METROPOLIS, METROPOLIS), atol=1e-12)


def test_the_fixed_point_of_damped_consensus_steps() -> None:
    damped = 0.3 * np.eye(PEERS) + 0.7 * MATRIX
    steps = np.linalg.matrix_power(damped, 3)
    found = play(MAKES["p2pl, 3 steps, damped"], 900).params
    np.testing.assert_allclose(found, fixed_point(steps, steps), atol=1e-12)


def test_a_complete_graph_with_sizes_is_fedavg() -> None:
    matrix = mixing_matrix(nx.complete_graph(PEERS), "data-size", SIZES)
    found = play(MAKES["p2pl"], 4, nx.complete_graph(PEERS), matrix, 5, np.tile(FIRST[0], (9, 1)))
    server = FIRST[0]
    for _ in range(4):
        clients = np.tile(server, (PEERS, 1))
        for _ in range(5):
            clients -= RATE * CURVES * (clients - AIMS)
        server = np.average(clients, axis=0, weights=SIZES)
    np.testing.assert_allclose(found.params, np.tile(server, (PEERS, 1)), atol=1e-13)


def test_push_sum_finds_the_mean_where_rows_lean_to_the_well_connected() -> None:
    ones = np.ones((PEERS, PEERS))
    links = links_of(DIRECTED, ones)
    push = Push(FIRST.copy())
    for round_ in range(400):
        push.begin()
        push.receive(push.send(links, round_), links, round_)
    mean = np.tile(FIRST.mean(0), (PEERS, 1))
    np.testing.assert_allclose(push.params, mean, atol=1e-12)
    assert push.kept()["weights"].std() > 0.1
    rows = links_of(DIRECTED, mixing_matrix(DIRECTED, "uniform"))
    plain = P2pl(FIRST.copy())
    for round_ in range(400):
        plain.receive(plain.send(rows, round_), rows, round_)
    assert np.ptp(plain.params, axis=0).max() < 1e-10
    assert abs(plain.params - mean).max() > 0.05


def test_push_sum_keeps_sums_over_changing_links() -> None:
    push = Push(FIRST.copy())
    for round_ in range(150):
        silent, hop = round_ % PEERS, 2 ** (round_ % 3)
        graph = nx.empty_graph(PEERS, create_using=nx.DiGraph)
        graph.add_edges_from((i, (i + hop) % PEERS) for i in range(PEERS) if i != silent)
        links = links_of(graph, np.ones((PEERS, PEERS)))
        push.begin()
        push.receive(push.send(links, round_), links, round_)
        kept = push.kept()
        np.testing.assert_allclose(kept["pushed"].sum(0), FIRST.sum(0), atol=1e-12)
        assert kept["weights"].sum() == pytest.approx(PEERS)
    np.testing.assert_allclose(push.params, np.tile(FIRST.mean(0), (PEERS, 1)), atol=1e-6)


def test_gradient_push_is_not_biased_to_the_well_connected() -> None:
    """With curves alike the optimum is the mean of the aims; a small step comes near to it."""
    links = links_of(DIRECTED, np.ones((PEERS, PEERS)))
    rows = links_of(DIRECTED, mixing_matrix(DIRECTED, "uniform"))
    found = {}
    for method, theirs in ((Push(FIRST.copy()), links), (P2pl(FIRST.copy()), rows)):
        for round_ in range(6000):
            method.begin()
            method.params -= 0.003 * (method.params - AIMS)
            method.receive(method.send(theirs, round_), theirs, round_)
        found[type(method)] = abs(method.params.mean(0) - AIMS.mean(0)).max()
    assert found[Push] < 0.02 and found[P2pl] > 0.1


def test_gossip_keeps_the_mean_and_agrees() -> None:
    method = P2pl(FIRST.copy())
    for round_ in range(300):
        pairs = matching(GRAPH, 1, round_)
        links = links_of(pairs, mixing_matrix(pairs, "uniform"))
        method.receive(method.send(links, round_), links, round_)
        np.testing.assert_allclose(method.params.mean(0), FIRST.mean(0), atol=1e-12)
    np.testing.assert_allclose(method.params, np.tile(FIRST.mean(0), (PEERS, 1)), atol=1e-6)


def two_peers(lean: float) -> tuple[float, int, np.ndarray]:
    """How far consensus moves the vectors at the end, the bytes of a message, the vectors."""
    graph = nx.path_graph(2)
    links = links_of(graph, mixing_matrix(graph, "uniform"))
    method = P2pl(FIRST[:2].copy(), affinity=lean > 0)
    for round_ in range(200):
        method.begin()
        descend(method, range(2), 5, lean)
        local = method.params.copy()
        sent = method.send(links, round_)
        method.receive(sent, links, round_)
    return float(abs(local - method.params).mean()), message_bytes(sent), method.params


def test_affinity_damps_the_swing_at_no_byte() -> None:
    swings = [two_peers(lean) for lean in (0.0, 0.2, 0.5, 1.0)]
    moved = [swing for swing, _, _ in swings]
    assert moved[0] > moved[1] > moved[2] > moved[3]
    assert moved[3] < 0.75 * moved[0]
    assert len({size for _, size, _ in swings}) == 1


def test_affinity_looks_from_after_to_neighbours_before() -> None:
    links = links_of(GRAPH, MATRIX)
    method = P2pl(FIRST.copy(), affinity=True)
    method.receive(method.send(links, 1), links, 1)
    pull = method.pull()
    assert pull is not None
    for peer in range(PEERS):
        near = list(GRAPH[peer])
        where = np.average(FIRST[near], axis=0, weights=SIZES[near])
        np.testing.assert_allclose(pull[peer], where - MATRIX[peer] @ FIRST, atol=1e-13)


def test_who_hears_nobody_leans_nowhere() -> None:
    graph = nx.empty_graph(PEERS)
    links = links_of(graph, mixing_matrix(graph, "uniform"))
    method = P2pl(FIRST.copy(), affinity=True)
    method.receive(method.send(links, 1), links, 1)
    assert (method.pull() == 0).all()
    np.testing.assert_array_equal(method.params, FIRST)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MAKES)
def test_a_method_keeps_its_precision(name: str, dtype: Any) -> None:
    graph = DIRECTED if name == "push" else GRAPH
    matrix = np.ones((PEERS, PEERS)) if name == "push" else METROPOLIS
    assert play(MAKES[name], 2, graph, matrix, first=FIRST.astype(dtype)).params.dtype == dtype


@pytest.mark.parametrize("name", ["affinity", "push", "top-k"])
def test_a_method_goes_on_from_what_it_kept(name: str) -> None:
    graph = DIRECTED if name == "push" else GRAPH
    matrix = np.ones((PEERS, PEERS)) if name == "push" else METROPOLIS
    links = links_of(graph, matrix)
    through = play(MAKES[name], 5, graph, matrix)
    half = play(MAKES[name], 3, graph, matrix)
    again = MAKES[name](half.params.copy(), links)
    again.restore(half.kept())
    for round_ in (4, 5):
        again.begin()
        descend(again, range(PEERS))
        for _ in range(again.exchanges):
            again.receive(again.send(links, round_), links, round_)
    np.testing.assert_array_equal(again.params, through.params)

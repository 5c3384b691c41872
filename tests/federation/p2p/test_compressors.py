"""Compressed messages, and CHOCO-SGD's consensus over them."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest

from covey.federation.p2p.compressors import Compressor, Quantised, RandomK, TopK, greatest
from covey.federation.p2p.links import links_of
from covey.federation.p2p.messages import message_bytes
from covey.federation.p2p.methods import Choco, P2pl
from covey.federation.p2p.mixing import mixing_matrix

PEERS = 9
GRAPH = nx.gnp_random_graph(PEERS, 0.4, seed=8)
METROPOLIS = mixing_matrix(GRAPH, "metropolis")
WIDE = np.random.default_rng(1).normal(size=(PEERS, 400))


def choco(compressor: Compressor, gamma: float, rounds: int) -> np.ndarray:
    links = links_of(GRAPH, METROPOLIS)
    method = Choco(WIDE.copy(), links, gamma, compressor, known=False)
    with np.errstate(over="ignore", invalid="ignore"):
        for round_ in range(rounds):
            method.receive(method.send(links, round_), links, round_)
    return method.params


@pytest.mark.parametrize(
    ("compressor", "gamma", "rounds"),
    [(TopK(0.05), 0.1, 1500), (RandomK(0.05, 3), 0.05, 4000), (Quantised(4), 0.34, 150)],
)
def test_choco_agrees_on_the_mean_with_its_step(
    compressor: Compressor, gamma: float, rounds: int
) -> None:
    found = choco(compressor, gamma, rounds)
    np.testing.assert_allclose(found, np.tile(WIDE.mean(0), (PEERS, 1)), atol=1e-3)


@pytest.mark.parametrize("compressor", [TopK(0.05), RandomK(0.05, 3)])
def test_choco_diverges_with_a_step_of_1_under_strong_compression(compressor: Compressor) -> None:
    found = choco(compressor, 1.0, 300)
    assert not np.isfinite(found).all() or abs(found).max() > 1e6


def test_choco_without_compression_is_a_consensus_of_the_exchange_before() -> None:
    links = links_of(GRAPH, METROPOLIS)
    method = Choco(WIDE.copy(), links, 1.0, TopK(1.0), known=False)
    for round_ in range(4):
        method.receive(method.send(links, round_), links, round_)
    expected = np.linalg.matrix_power(METROPOLIS, 3) @ WIDE
    np.testing.assert_allclose(method.params, expected, atol=1e-13)


def test_the_greatest_are_chosen_and_of_equals_the_first() -> None:
    vector = np.array([0.5, -3.0, 2.0, 2.0 * (1 + 1e-15), -2.0, 7.0])
    assert greatest(vector, 2).tolist() == [1, 5]
    assert greatest(vector, 4).tolist() == [1, 2, 3, 5]
    assert greatest(vector.astype(np.float32), 3).tolist() == [1, 2, 5]
    many = np.random.default_rng(0).normal(size=5000)
    expected = np.sort(np.argsort(abs(many))[-50:])
    assert greatest(many, 50).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("compressor", "name", "wrong", "said"),
    [
        (TopK(0.05), "indices", lambda a: a[:, ::-1], "rising order"),
        (TopK(0.05), "indices", lambda a: a + 400, "beyond 400"),
        (TopK(0.05), "values", lambda a: a[:, :5], "are to be"),
        (TopK(0.05), "indices", lambda a: a.astype(np.int64), "rising order"),
        (RandomK(0.05, 3), "values", lambda a: a[:, :5], "are to be"),
        (Quantised(4), "bits", lambda a: a[:, :5], "are to be"),
        (Quantised(4), "bounds", lambda a: a[:, :1], "are to be"),
    ],
)
def test_messages_that_nobody_has_packed(
    compressor: Compressor, name: str, wrong: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    message = compressor.pack(WIDE, range(PEERS), 1)
    compressor.unpack(message, 400, range(PEERS), 1)
    with pytest.raises(ValueError, match=said):
        compressor.unpack({**message, name: wrong(message[name])}, 400, range(PEERS), 1)


def test_bytes_of_messages() -> None:
    links = links_of(GRAPH, METROPOLIS)
    single = WIDE.astype(np.float32)
    sizes = {
        kind: message_bytes(Choco(single.copy(), links, 0.1, how, False).send(links, 1))
        for kind, how in (
            ("top-k", TopK(0.05)),
            ("random-k", RandomK(0.05, 3)),
            ("quantised", Quantised(4)),
        )
    }
    assert sizes == {"top-k": 20 * 8, "random-k": 20 * 4, "quantised": 200 + 8}
    assert message_bytes(P2pl(single).send(links, 1)) == 1600

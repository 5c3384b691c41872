"""Sums of neighbours' vectors: the same, however they are made."""

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from covey.federation.p2p import links, sparse_product
from covey.federation.p2p.links import links_of, product
from covey.federation.p2p.mixing import mixing_matrix

PEERS = 60
SOME = nx.gnp_random_graph(PEERS, 0.1, seed=3)  # 0 to 9 neighbours
DTYPES = [np.float32, np.float64]


def weights_of(graph):
    return links_of(graph, mixing_matrix(graph, "uniform")).weights


def vectors(size, dtype):
    return np.random.default_rng(5).normal(size=(PEERS, size)).astype(dtype)


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, sparse_product.COLUMNS, 3 * sparse_product.PIECE + 1030])
def test_compiled_sums_have_the_bits_of_scipys(dtype, size, threads):
    dense = weights_of(SOME).toarray()
    dense[7] = 0  # hears nobody, not even itself
    matrix, sent = csr_array(dense).astype(dtype), vectors(size, dtype)
    found = sparse_product.sparse_product(matrix, sent)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, matrix @ sent)
    assert not found[7].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", [SOME, nx.cycle_graph(PEERS), nx.complete_graph(PEERS)])
@pytest.mark.parametrize("size", [3, 30_000])
def test_a_product_is_that_of_the_full_matrices(graph, size, dtype):
    weights, sent = weights_of(graph), vectors(size, dtype)
    found = product(weights, sent)
    assert found.dtype == dtype
    close = {np.float32: 1e-6, np.float64: 1e-14}[dtype]
    expected = weights.toarray() @ sent.astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=close)


def test_loops_are_compiled_for_large_sparse_sums_alone(monkeypatch):
    """A real peer's own, a row that is full, wait for no compiler."""
    ways = []
    monkeypatch.setattr(sparse_product, "sparse_product", lambda *_: ways.append("compiled"))
    monkeypatch.setattr(links, "MANY", 3000)
    some, all_of_them = weights_of(SOME), weights_of(nx.complete_graph(PEERS))
    assert some.nnz * 2 < 3000 < some.nnz * 50
    product(some, vectors(50, np.float32))
    assert ways.pop() == "compiled"
    product(some, vectors(2, np.float32))
    product(all_of_them, vectors(50, np.float32))
    for peer in range(PEERS):
        mine = links_of(SOME, mixing_matrix(SOME, "uniform"), peer)
        product(mine.weights, np.ones((len(mine.senders), 3000), np.float32))
    assert not ways

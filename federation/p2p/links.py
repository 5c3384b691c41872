"""What some peers hear in a round, and how they weigh it: all peers together, or a real one alone.

n peers are looked after; m peers send to them, themselves among these. Both stand in the order of
their numbers, so that sums are made in the same order whoever makes them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx as nx  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from covey.federation.p2p.mixing import Floats, hears

DENSE = 0.3
"""From this share of links on, a product of full matrices is faster."""
MANY = 1 << 22
"""From so many terms on (2 ms), sums are worth a compiled loop."""
Rows = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Links:
    """weights: [n, m], the rows of a mixing matrix, as a sparse array; senders: [m], their numbers;
    own: [n], where among them the peers themselves stand; hearers: [n], how many others hear each.
    """

    weights: csr_array
    senders: NDArray[np.int64]
    own: NDArray[np.int64]
    hearers: NDArray[np.int64]

    @property
    def peers(self) -> NDArray[np.int64]:
        """[n]: their numbers."""
        return self.senders[self.own]

    @cached_property
    def around(self) -> csr_array:
        """The weights of neighbours alone, [n, m], each row adding up to 1, or 0 without any."""
        rest = self.weights.toarray()
        rest[np.arange(len(self.own)), self.own] = 0
        sums = rest.sum(1, keepdims=True)
        return csr_array(np.divide(rest, sums, out=np.zeros_like(rest), where=sums > 0))

    def only(self, senders: Collection[int]) -> "Links":
        """What is left when nothing came from others than these: their weights go to the rest, in
        proportion. Peers always hear themselves.
        """
        heard = {*senders, *self.peers.tolist()}
        kept = np.flatnonzero([sender in heard for sender in self.senders.tolist()])
        weights = csr_array(self.weights[:, kept])
        sums = weights.sum(1)
        scale = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
        weights.data *= np.repeat(scale, np.diff(weights.indptr))
        own = np.searchsorted(self.senders[kept], self.peers)
        alone = np.flatnonzero(sums == 0)
        weights[alone, own[alone]] = 1
        return Links(weights, self.senders[kept], own, self.hearers)

    def heard(self, row: int) -> NDArray[np.int64]:
        """The places among the senders that one of the peers hears, its own too."""
        places: NDArray[np.int64] = np.sort(self.weights.indices[slice(*self._ends(row))])
        return places

    def _ends(self, row: int) -> tuple[int, int]:
        return int(self.weights.indptr[row]), int(self.weights.indptr[row + 1])


def links_of(graph: nx.Graph, matrix: Floats, peer: int | None = None) -> Links:
    """The links of all peers, or of one, in a graph with its mixing matrix [K, K].

    A link of weight 0 (of a neighbour that has no data) is a link all the same.
    """
    heard = hears(graph)
    there = heard + np.eye(len(heard)) > 0
    numbers = np.arange(len(heard))
    peers = numbers if peer is None else numbers[peer : peer + 1]
    senders = numbers if peer is None else np.flatnonzero(there[peer])
    rows, columns = np.nonzero(there[np.ix_(peers, senders)])
    values = matrix[peers[rows], senders[columns]]
    weights = csr_array((values, (rows, columns)), shape=(len(peers), len(senders)))
    own = np.searchsorted(senders, peers)
    return Links(weights, senders, own, heard.sum(0).astype(np.int64)[peers])


def product(weights: csr_array, vectors: Rows) -> Rows:
    """[n, m] times [m, D], in the dtype of the vectors."""
    matrix = weights.astype(vectors.dtype)
    if weights.nnz >= DENSE * np.prod(weights.shape):
        return np.asarray(matrix.toarray() @ vectors)
    if weights.nnz * vectors.shape[1] < MANY:
        return np.asarray(matrix @ vectors)
    from covey.federation.p2p.sparse_product import sparse_product

    return sparse_product(matrix, vectors)

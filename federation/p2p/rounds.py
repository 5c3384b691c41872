"""Which links and which weights a round has, and the method that a job names."""

from collections.abc import Mapping, Sequence

import networkx as nx  # type: ignore[import-untyped]
import numpy as np

from covey.federation.compression_section import TopK as TopKOptions
from covey.federation.p2p.compressors import Compressor, Quantised, RandomK, TopK
from covey.federation.p2p.links import Links, Rows, links_of
from covey.federation.p2p.methods import Choco, Dpsgd, Method, P2pl, Push
from covey.federation.p2p.mixing import Floats, mixing_matrix, push_matrix
from covey.federation.p2p.parts_section import ConsensusSection, TrimmedMeanSection
from covey.federation.p2p.parts_section import RandomK as RandomKOptions
from covey.federation.p2p.robust import Combine, SelfCentredClipping, TrimmedMean, weighted
from covey.federation.p2p.section import PeerSection
from covey.federation.p2p.topology import Topology, matching

MEETINGS = 200
"""Rounds of gossip whose mean is taken for its matrix."""


class Schedule:
    """The links of every round of a resolved section: a function of the job's seed, the same for
    each peer. sizes: [K], their samples.
    """

    def __init__(self, section: PeerSection, seed: int, sizes: Sequence[int]) -> None:
        self._section, self._seed, self._sizes = section, seed, list(sizes)
        self.topology = Topology(section.topology, section.peers, seed)
        self._last: tuple[nx.Graph, Links] | None = None

    def links(self, round_: int, peer: int | None = None) -> Links:
        """Of all peers, or of one."""
        graph = self.graph(round_)
        if peer is not None:
            return links_of(graph, self._received(graph), peer)
        if self._last is None or self._last[0] is not graph:
            self._last = graph, links_of(graph, self._received(graph))
        return self._last[1]

    def graph(self, round_: int) -> nx.Graph:
        """The links that are used in a round; of gossip, its pairs."""
        graph = self.topology.graph(round_)
        if self._section.method == "gossip":
            graph = matching(graph, self._seed, round_)
        return graph

    def weigh(self, sizes: Mapping[int, int]) -> None:
        """These peers have as many samples; the others as many as before."""
        new = [sizes.get(peer, size) for peer, size in enumerate(self._sizes)]
        if new != self._sizes:
            self._sizes, self._last = new, None

    def matrix(self, graph: nx.Graph) -> Floats:
        """What a consensus step does on that graph, [K, K]; of gossip, in the mean over many."""
        match self._section.method:
            case "sgp":
                return push_matrix(graph)
            case "gossip":
                met = (matching(graph, self._seed, number) for number in range(MEETINGS))
                total = np.zeros((len(graph), len(graph)))
                for pairs in met:
                    total += mixing_matrix(pairs, "uniform")
                return total / MEETINGS
        return self._received(graph)

    def _received(self, graph: nx.Graph) -> Floats:
        """How what arrives is weighed. Push-sum adds it up: there the sender has divided."""
        if self._section.method == "sgp":
            return np.ones((self._section.peers, self._section.peers))
        weights = self._section.weights or "uniform"  # of pairs
        return mixing_matrix(graph, weights, self._sizes)


def make_method(section: PeerSection, params: Rows, links: Links, seed: int) -> Method:
    """The method of a resolved section, for peers with these vectors, which they begin with, and
    links of round 1.
    """
    combine = _combine(section)
    match section.method:
        case "p2pl":
            consensus = section.consensus or ConsensusSection()
            steps, damping = consensus.steps, float(consensus.damping)
            return P2pl(params, steps, damping, section.affinity is not None, combine)
        case "d-psgd":
            return Dpsgd(params, combine)
        case "sgp":
            return Push(params)
        case "choco":
            assert section.gamma is not None
            known = section.start != "independent"
            return Choco(params, links, section.gamma, _compressor(section, seed), known)
    return P2pl(params, combine=combine)  # atc, gossip


def _combine(section: PeerSection) -> Combine:
    match section.robust:
        case None:
            return weighted
        case TrimmedMeanSection(trim=trim):
            return TrimmedMean(trim)
    return SelfCentredClipping(section.robust.radius)


def _compressor(section: PeerSection, seed: int) -> Compressor:
    match section.compression:
        case TopKOptions(fraction=fraction):
            return TopK(fraction)
        case RandomKOptions(fraction=fraction):
            return RandomK(fraction, seed)
    assert section.compression is not None
    return Quantised(section.compression.bits)

"""Who is linked with whom in which round: a pure function of the job's seed, so that every peer
knows it without asking.
"""

import networkx as nx  # type: ignore[import-untyped]
import numpy as np

from covey.federation.p2p.graphs import make_graph, one_peer
from covey.federation.p2p.topology_section import CutSection, TopologySection
from covey.platform.seeds import derive


class Topology:
    """The graphs of a resolved section. ValueError for one that cannot be made."""

    def __init__(self, section: TopologySection, peers: int, seed: int) -> None:
        self._section, self._peers, self._seed = section, peers, seed
        self._drawn = 0
        self._whole = make_graph(section, peers, seed)
        self._part = None if section.cut is None else parts(section.cut, peers)

    @property
    def directed(self) -> bool:
        """Whether one may hear another and not be heard."""
        return bool(self._whole.is_directed())

    def whole(self, round_: int = 1) -> nx.Graph:
        """All links that may be up around that round: what a synchronisation before round 1 has,
        and what pictures show. The same object as long as it is the same graph.
        """
        every = self._section.redraw_every
        number = 0 if every is None else (round_ - 1) // every
        if number != self._drawn:
            self._whole = make_graph(self._section, self._peers, self._seed, number)
            self._drawn = number
        return self._whole

    def graph(self, round_: int) -> nx.Graph:
        """The links that are up in a round, which are counted from 1."""
        whole, section = self.whole(round_), self._section
        one_by_one = section.kind == "one-peer-exponential"
        edges = one_peer(self._peers, round_ - 1) if one_by_one else list(whole.edges)
        kept = edges
        if section.up < 1 and edges:
            draws = np.random.default_rng(derive(self._seed, "links", round_)).random(len(edges))
            kept = [edge for edge, draw in zip(edges, draws, strict=True) if draw < section.up]
        if self._part is not None and section.cut is not None:
            if section.cut.from_round <= round_ < section.cut.until:
                part = self._part
                kept = [(one, other) for one, other in kept if part[one] == part[other]]
        if len(kept) == whole.number_of_edges():
            return whole
        graph = nx.empty_graph(self._peers, create_using=type(whole))
        graph.add_edges_from(kept)
        return graph


def parts(cut: CutSection, peers: int) -> list[int]:
    """The part that each peer is in while the network is cut."""
    if isinstance(cut.groups, int):
        return [peer * cut.groups // peers for peer in range(peers)]
    number = {peer: place for place, group in enumerate(cut.groups) for peer in group}
    return [number.get(peer, len(cut.groups)) for peer in range(peers)]


def matching(graph: nx.Graph, seed: int, round_: int) -> nx.Graph:
    """Pairs for a round of gossip (Boyd et al. 2006): links are gone through in random order, and
    two that have nobody yet meet. Who is left over meets nobody.
    """
    edges = list(graph.edges)
    free = set(graph.nodes)
    pairs = []
    for place in np.random.default_rng(derive(seed, "gossip", round_)).permutation(len(edges)):
        one, other = edges[place]
        if one in free and other in free:
            free -= {one, other}
            pairs.append((one, other))
    met = nx.empty_graph(graph.number_of_nodes())
    met.add_edges_from(pairs)
    return met

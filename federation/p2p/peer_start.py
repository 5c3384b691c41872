"""How real peers agree on the weights to begin with: the longest vector goes from peer to peer.

What `mixing.max_norm_sync` does with all vectors at hand, by messages.
"""

import math

import networkx as nx  # type: ignore[import-untyped]
import numpy as np

from covey.federation.p2p.links import Rows
from covey.federation.p2p.messages import Message
from covey.federation.p2p.mixing import lengths
from covey.federation.p2p.peer_mail import Mail

FIRST = "first"
"""The kind of these messages."""
LONGEST = 10.0
"""How much longer than the own vector another's may be: all are drawn alike, so their norms are all
but the same, and one that is made up would become everybody's.
"""
ROUND = 0
"""Of the wire; those of training are counted from 1."""


def agree(mail: Mail, vector: Rows, graph: nx.Graph, number: int) -> tuple[Message, int]:
    """Take over the longest vector, vectors being [1, D], as often as it takes it to come from the
    farthest peer. Returns {"vector", "owner"}, whose vector was that peer's, and the exchanges.
    """
    best: Message = {"owner": np.array([[number]]), "vector": vector}
    limit = LONGEST * float(lengths(vector)[0])
    exchanges = reach(graph, number)
    for step in range(exchanges):
        theirs = mail.swap(ROUND, step, best, graph, FIRST)
        for peer, message in theirs.items():
            try:
                best = longer(best, message, limit)
            except ValueError as error:
                mail.refuse(peer, str(error))
    return best, exchanges


def longer(one: Message, other: Message, limit: float = math.inf) -> Message:
    """The one that wins: by the norm in float64, then the lower owner. ValueError for a norm that
    is not finite, and for another that is above the limit.
    """
    norms = lengths(np.concatenate([one["vector"], other["vector"]]))
    if norms[1] > limit:
        raise ValueError(f"first weights of norm {norms[1]:.3g}, where {limit:.3g} is the limit")
    owners = int(one["owner"][0, 0]), int(other["owner"][0, 0])
    return other if (-norms[1], owners[1]) < (-norms[0], owners[0]) else one


def reach(graph: nx.Graph, number: int) -> int:
    """The longest of all shortest ways in the part of the graph that a peer is linked with: the
    same for every peer there, so that all make as many exchanges.
    """
    both = graph.to_undirected(as_view=True) if graph.is_directed() else graph
    part = graph.subgraph(nx.node_connected_component(both, number))
    ways = nx.all_pairs_shortest_path_length(part)
    return int(max(max(found.values()) for _, found in ways))

"""A peer's messages by the numbers that a job's peers have, over a wire that knows their names."""

from collections.abc import Collection

import networkx as nx  # type: ignore[import-untyped]
import numpy as np

from covey.federation.p2p.links import Rows
from covey.federation.p2p.messages import Message, in_one, out_of_one
from covey.federation.p2p.wire_exchange import VECTOR, Exchange
from covey.federation.p2p.wire_header import Form

WEIGHED = "weighed"
"""The kind of messages with a vector and a number of samples."""
PREFIX = "peer-"
"""Before the number, in the names that `covey peers init` gives."""


def name_of(number: int) -> str:
    """The name of a job's peer."""
    return f"{PREFIX}{number}"


def number_of(name: str) -> int:
    """The number in a name; ValueError for a name without."""
    number = int(name.removeprefix(PREFIX))
    if name != name_of(number):
        raise ValueError(name)
    return number


def form_with_a_number(vector: Rows) -> Form:
    """What messages look like that have a vector [1, D] and a whole number: bytes, as `in_one`
    writes them.
    """
    return Form("uint8", (np.dtype(np.int64).itemsize + vector.nbytes,))


class Mail:
    """To and from the neighbours of one peer."""

    def __init__(self, exchange: Exchange, number: int, timeout_s: float) -> None:
        self._exchange, self._number = exchange, number
        self.timeout_s = timeout_s
        """How long is waited for what neighbours send."""

    def swap(
        self, round_: int, step: int, own: Message, graph: nx.Graph, kind: str = VECTOR
    ) -> dict[int, Message]:
        """Send this peer's message along its links in the graph. Returns what has come along them,
        by sender; what cannot be used is refused, and as if it had not come.
        """
        theirs = self._exchange.exchange(
            round_,
            step,
            in_one(own),
            [name_of(peer) for peer in graph.adj[self._number]],
            self.timeout_s,
            receive_from=[name_of(peer) for peer in senders(graph, self._number)],
            kind=kind,
        )
        read: dict[int, Message] = {}
        for name, written in theirs.items():
            try:
                read[number_of(name)] = out_of_one(written, own)
            except ValueError as error:
                self.refuse(number_of(name), str(error))
        return read

    def refuse(self, peer: int, why: str) -> None:
        """Count a message of that peer as one that cannot be used."""
        self._exchange.refuse(name_of(peer), "content", why)


def senders(graph: nx.Graph, number: int) -> Collection[int]:
    """Whom a peer hears."""
    heard: Collection[int] = (graph.pred if graph.is_directed() else graph.adj)[number]
    return heard


def around(graph: nx.Graph, number: int) -> set[int]:
    """All that a peer has links with, in either direction."""
    return {*graph.adj[number], *senders(graph, number)}

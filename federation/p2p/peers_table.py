"""`peers.json`: who is linked with whom, and how good each peer's model is, for `graph.png`."""

import json
from collections.abc import Sequence
from typing import Any

import networkx as nx  # type: ignore[import-untyped]
import numpy as np

from covey.federation.p2p.learners import Floats

PEERS = "peers.json"


class PeersTable:
    """What was measured last."""

    def __init__(self) -> None:
        self.seen = False
        self._table: dict[str, Any] = {}

    def see(
        self, round_: int, at: str, accuracies: Floats, sizes: Sequence[int], graph: nx.Graph
    ) -> None:
        """accuracies [K], `at` a point of that round; sizes [K], the peers' samples; the graph of
        all links that may be up.
        """
        self.seen = True
        self._table["samples"] = list(sizes)
        self._table["round"] = round_
        self._table[f"accuracy{at}"] = np.round(accuracies, 6).tolist()
        self._table["directed"] = graph.is_directed()
        self._table["edges"] = sorted(map(list, graph.edges))

    def encode(self) -> bytes:
        """For the run folder."""
        return json.dumps(self._table).encode() + b"\n"

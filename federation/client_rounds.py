"""What came of each client in each round: `client_rounds.json`, a part of every checkpoint, from
which `clients.png` is drawn. What a client has done in all is in the `Ledger`.
"""

import json
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from covey.federation.figures import ACCURACY_NAMES

if TYPE_CHECKING:
    from flwr.app import Message

CLIENT_ROUNDS = "client_rounds.json"
FATES = ("trained", "dropped", "failed", "refused")
KINDS = (*FATES, "measured", "accuracy")
ACCURACY = 10_000
"""Accuracies are kept as whole ten-thousandths: sums of them are exact."""
MOST_ROWS = 200
MOST_COLUMNS = 200


class ClientRounds:
    """Counts in a table of rows (clients, in the order of their nodes' ids) and columns (rounds).

    However many there are, the table stays within `MOST_ROWS` and `MOST_COLUMNS`: of a large
    population each row is several neighbours, and whenever the columns are full, two become one.
    """

    def __init__(self) -> None:
        self._nodes: list[int] = []
        self._clients_a_row = 1
        self._rounds_a_column = 1
        self._now = 0
        self._rounds = 0
        self._cells: NDArray[np.int64] = np.zeros((len(KINDS), 0, MOST_COLUMNS), np.int64)

    def admit(self, nodes: Sequence[int]) -> None:
        """Say who there is: at the start of every attempt, before `restore`."""
        self._nodes = sorted(nodes)
        self._clients_a_row = max(1, math.ceil(len(nodes) / MOST_ROWS))
        rows = math.ceil(len(nodes) / self._clients_a_row)
        self._cells = np.zeros((len(KINDS), rows, MOST_COLUMNS), np.int64)

    def begin(self, number: int) -> None:
        """The round, from 1, that the next calls are about. One that comes to nothing leaves no
        trace.
        """
        self._now = number

    def answered(self, node: int, fate: str) -> None:
        """A message to train was answered: one of `FATES`."""
        self._add(fate, node, 1)

    def measured(self, node: int, reply: "Message") -> None:
        """The global model was measured on a client's own data, if the reply has an accuracy."""
        accuracy = accuracy_of(reply)
        if accuracy is not None:
            self._add("measured", node, 1)
            self._add("accuracy", node, round(accuracy * ACCURACY))

    def table(self) -> dict[str, Any]:
        """`clients` and `clients_a_row`, `rounds` up to now and `rounds_a_column`; by kind, if
        there are any, a list of rows: how often it happened, and of `accuracy` the sum in
        ten-thousandths.
        """
        columns = math.ceil(self._rounds / self._rounds_a_column)
        found = {kind: self._cells[place, :, :columns] for place, kind in enumerate(KINDS)}
        return {
            "clients": len(self._nodes),
            "clients_a_row": self._clients_a_row,
            "rounds": self._rounds,
            "rounds_a_column": self._rounds_a_column,
            **{kind: cells.tolist() for kind, cells in found.items() if cells.any()},
        }

    def encode(self) -> bytes:
        """The table as JSON."""
        return json.dumps(self.table(), separators=(",", ":")).encode()

    def restore(self, content: bytes) -> None:
        """Put back what `encode` wrote, of the same population."""
        table = json.loads(content)
        self._rounds = table["rounds"]
        self._rounds_a_column = table["rounds_a_column"]
        for place, kind in enumerate(KINDS):
            if kind in table:
                cells = np.array(table[kind], np.int64)
                self._cells[place, : cells.shape[0], : cells.shape[1]] = cells

    def _add(self, kind: str, node: int, amount: int) -> None:
        # Who came later, to a Grid of an app's own, is counted with the last.
        place = min(bisect_left(self._nodes, node), len(self._nodes) - 1)
        row, column = place // self._clients_a_row, self._column()
        self._cells[KINDS.index(kind), row, column] += amount

    def _column(self) -> int:
        """That of the round which goes on; makes room for it."""
        self._rounds = self._now
        while (self._now - 1) // self._rounds_a_column >= MOST_COLUMNS:
            self._rounds_a_column *= 2
            pairs = self._cells[:, :, 0::2] + self._cells[:, :, 1::2]
            self._cells = np.concatenate((pairs, np.zeros_like(pairs)), axis=2)
        return (self._now - 1) // self._rounds_a_column


def accuracy_of(reply: "Message") -> float | None:
    """What a client says of the model's accuracy on its own data; None for an error, for one that
    had nothing to measure with, and for what can be no accuracy, not even a percentage.
    """
    if reply.has_error():
        return None
    for metrics in reply.content.metric_records.values():
        found = [metrics[name] for name in ACCURACY_NAMES if name in metrics]
        if found and metrics.get("num-examples") != 0:
            value = found[0]
            return value if isinstance(value, int | float) and 0 <= value <= 100 else None
    return None

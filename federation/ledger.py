"""What each client has done in a run, counted: `clients.json`, and a part of every checkpoint."""

import json
from dataclasses import asdict, dataclass, fields


@dataclass(slots=True)
class Account:
    """One client's totals. `asked` counts messages of all kinds, the next four those to train.

    `samples` is the last `num-examples` that it has told.
    """

    asked: int = 0
    trained: int = 0
    dropped: int = 0
    failed: int = 0
    refused: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    samples: float = 0


class Ledger:
    """An account for every node that was ever sent a message: nothing for those that were not, so
    a large population costs what its cohorts cost.
    """

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}

    def of(self, node: int) -> Account:
        """A node's account, opened if it has none."""
        account = self.accounts.get(node)
        if account is None:
            account = self.accounts[node] = Account()
        return account

    def encode(self) -> bytes:
        """JSON, a list a column: `node` (Flower's id; in a simulation client number + 2) and each
        field of `Account`.
        """
        nodes = sorted(self.accounts)
        names = [field.name for field in fields(Account)]
        rows = [asdict(self.accounts[node]) for node in nodes]
        columns = {name: [row[name] for row in rows] for name in names}
        return json.dumps({"node": nodes, **columns}).encode()

    def restore(self, content: bytes) -> None:
        """Put back what `encode` wrote."""
        columns = json.loads(content)
        nodes = columns.pop("node")
        rows = zip(*columns.values(), strict=True)
        self.accounts = {
            node: Account(**dict(zip(columns, row, strict=True)))
            for node, row in zip(nodes, rows, strict=True)
        }

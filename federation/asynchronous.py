"""What the round loop asks of a strategy whose clients train from the model as it was when they
were started, and finish when they finish.

A round is one update of the server's model. Such a strategy keeps a simulated clock: within a round
it hands out the messages of the clients that finish next, and only then are these run, all at once.
That gives the same numbers as running each by itself, on any Grid, and no client is run whose
result is never used. So nothing is on its way between rounds but messages that were not sent yet.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from covey.federation.faults import Fault

FaultOf = Callable[..., Fault]
"""`Faults.of`: (node, round, number of the start) -> what happens to it."""
Choose = Callable[[list[int], int, list[int]], list[int]]
"""`Sampler.choose`: (idle nodes, how many, all nodes) -> the nodes to start."""


@runtime_checkable
class Asynchronous(Protocol):
    """Beside Flower's verbs. `configure_train` is `configure_more` with no replies yet."""

    buffer: int
    """Replies that make an update."""
    clock_s: float
    """Simulated seconds since training began."""
    lost: dict[int, Fault]
    """The nodes among those just handed out that never answer: they are not run."""
    fault_of: FaultOf
    choose: Choose

    def configure_more(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
        good: Sequence[Message],
    ) -> Iterable[Message]:
        """The messages of the clients that finish next, until with the `good` replies of this round
        there are `buffer`; also those of clients that get lost meanwhile. None when nobody is left.
        """

"""A round's messages on their way to the clients, and the replies on their way back.

Every engine's messages pass here: bytes are counted, simulated clients get lost, replies that would
spoil the model become errors.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from covey.federation.client_error import ClientError
from covey.federation.client_rounds import ClientRounds
from covey.federation.faults import Fault
from covey.federation.flower_internals import reply_to
from covey.federation.ledger import Ledger
from covey.federation.losses import fate
from covey.federation.payload import payload_bytes
from covey.federation.refusal import why_refused


@dataclass(frozen=True)
class Terms:
    """How messages are sent. `timeout_s` on the clock; `weight` the metric that clients are weighed
    by; `fault_of` a message to train (None: nothing happens to it).
    """

    timeout_s: float
    weight: str
    fault_of: Callable[[Message], Fault] | None = None


class Exchange:
    """Carries messages for one round after the other.

    `counts` are of this round's training: `clients_asked`, `clients_failed`, `clients_dropped`
    (late ones too) and `clients_refused`; `bytes_down` and `bytes_up` of all its messages.
    `virtual_s` is the longest simulated delay in the last batch.
    """

    def __init__(self, ledger: Ledger, rounds: ClientRounds) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes_down = self.bytes_up = 0
        self.virtual_s = 0.0
        self._ledger = ledger
        self._rounds = rounds

    def begin(self) -> None:
        """Another round: count from nothing."""
        self.counts.clear()
        self.bytes_down = self.bytes_up = 0

    def train(self, grid: Grid, messages: Iterable[Message], terms: Terms) -> list[Message]:
        """One reply a message, in their order: the client's or an error."""
        messages = list(messages)
        self.counts["clients_asked"] += len(messages)
        replies = self._exchange(grid, messages, terms)
        for message, reply in zip(messages, replies, strict=True):
            self._count(message.metadata.dst_node_id, reply)
        return replies

    def evaluate(self, grid: Grid, messages: Iterable[Message], terms: Terms) -> list[Message]:
        """The same; nobody is lost or counted."""
        messages = list(messages)
        replies = self._exchange(grid, messages, terms)
        for message, reply in zip(messages, replies, strict=True):
            self._rounds.measured(message.metadata.dst_node_id, reply)
        return replies

    def _exchange(self, grid: Grid, messages: Sequence[Message], terms: Terms) -> list[Message]:
        self._count_down(messages)
        faults = [terms.fault_of(message) for message in messages] if terms.fault_of else []
        self.virtual_s = max((fault.delay_s for fault in faults), default=0.0)
        replies: dict[int, Message] = {}
        for place, fault in enumerate(faults):
            if fault.lost is not None:
                replies[place] = reply_to(messages[place], Error(ClientError.DROPPED, fault.lost))
        going = [place for place in range(len(messages)) if place not in replies]
        came = grid.send_and_receive([messages[p] for p in going], timeout=terms.timeout_s)
        for place, reply in _matched(going, messages, came):
            replies[place] = self._received(messages[place], reply, terms)
        late = f"no reply within {terms.timeout_s:g} s"
        return [
            replies.get(place) or reply_to(message, Error(ClientError.LATE, late))
            for place, message in enumerate(messages)
        ]

    def _count_down(self, messages: Sequence[Message]) -> None:
        sizes: dict[int, int] = {}  # messages of a round share their records
        for message in messages:
            content = message.content
            size = sizes.get(id(content))
            if size is None:
                size = sizes[id(content)] = payload_bytes(content)
            account = self._ledger.of(message.metadata.dst_node_id)
            account.asked += 1
            account.bytes_down += size
            self.bytes_down += size

    def _received(self, message: Message, reply: Message, terms: Terms) -> Message:
        if reply.has_error():
            return reply
        account = self._ledger.of(message.metadata.dst_node_id)
        size = payload_bytes(reply.content)
        account.bytes_up += size
        self.bytes_up += size
        reason = why_refused(message.content, reply.content, terms.weight)
        if reason is not None:
            return reply_to(message, Error(ClientError.REFUSED, reason))
        account.samples = _samples(reply.content, terms.weight) or account.samples
        return reply

    def _count(self, node: int, reply: Message) -> None:
        column = fate(reply) if reply.has_error() else "trained"
        column = "dropped" if column == "late" else column
        self._rounds.answered(node, column)
        account = self._ledger.of(node)
        setattr(account, column, getattr(account, column) + 1)
        if column != "trained":
            self.counts[f"clients_{column}"] += 1


def _matched(
    going: Sequence[int], messages: Sequence[Message], replies: Iterable[Message]
) -> Iterable[tuple[int, Message]]:
    """Each reply with the place of its message, by node: ids are up to whoever carries them."""
    places: defaultdict[int, deque[int]] = defaultdict(deque)
    for place in going:
        places[messages[place].metadata.dst_node_id].append(place)
    for reply in replies:
        waiting = places[reply.metadata.src_node_id]
        if waiting:
            yield waiting.popleft(), reply


def _samples(content: RecordDict, weight: str) -> float:
    for metrics in content.metric_records.values():
        value = metrics.get(weight)
        if isinstance(value, int | float):
            return value
    return 0

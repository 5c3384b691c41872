"""A round's messages on their way to the clients, and the replies on their way back.

Every engine's messages pass here: bytes are counted, simulated clients get lost, replies that would
spoil the model become errors.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from covey.federation.client_error import ClientError
from covey.federation.client_rounds import ClientRounds
from covey.federation.faults import Fault
from covey.federation.flower_internals import reply_to
from covey.federation.ledger import Ledger
from covey.federation.losses import fate, is_refused
from covey.federation.payload import payload_bytes
from covey.federation.records import entries_of, records_in
from covey.federation.refusal import why_refused
from covey.federation.reply_form import odd_ones
from covey.federation.simulated_grid import SimulatedGrid
from covey.federation.wants import Wants


@dataclass(frozen=True)
class Terms:
    """How messages are sent, and what comes back. `timeout_s` on the clock; `wants` of each reply;
    `fault_of` a message to train (None: nothing happens to it); `restored` makes whole replies, or
    errors, of packed ones; `spoilt` makes of a message and its whole reply what is received.
    """

    timeout_s: float
    wants: Wants
    fault_of: Callable[[Message], Fault] | None = None
    restored: Callable[[list[Message]], list[Message]] = list
    spoilt: Callable[[Message, Message], Message] | None = None


class Exchange:
    """Carries messages for one round after the other.

    `counts` are of this round's training: `clients_asked`, `clients_failed`, `clients_dropped`
    (late ones too) and `clients_refused`; `bytes_down` and `bytes_up` of all its messages.
    `virtual_s` is the longest simulated delay in the last batch. `clients` keeps the clients'
    states: one whose reply is refused keeps what it had.
    """

    def __init__(self, ledger: Ledger, rounds: ClientRounds, clients: SimulatedGrid) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes_down = self.bytes_up = 0
        self.virtual_s = 0.0
        self._ledger = ledger
        self._rounds = rounds
        self._clients = clients

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

    def take_back(self, replies: Iterable[Message]) -> None:
        """The newest replies will not be used: their clients keep what they had before."""
        self._clients.take_back(reply.metadata.src_node_id for reply in replies)

    def _exchange(self, grid: Grid, messages: Sequence[Message], terms: Terms) -> list[Message]:
        if not messages:
            self.virtual_s = 0.0
            return []
        self._count_down(messages)
        faults = [terms.fault_of(message) for message in messages] if terms.fault_of else []
        self.virtual_s = max((fault.delay_s for fault in faults), default=0.0)
        replies: dict[int, Message] = {}
        for place, fault in enumerate(faults):
            if fault.lost is not None:
                replies[place] = reply_to(messages[place], Error(ClientError.DROPPED, fault.lost))
        self._clients.mark()
        going = [place for place in range(len(messages)) if place not in replies]
        came = grid.send_and_receive([messages[p] for p in going], timeout=terms.timeout_s)
        for place, reply in _matched(going, messages, came):
            replies[place] = self._received(messages[place], reply, terms)
        replies |= self._refusals(messages, replies, terms.wants)
        self.take_back(reply for reply in replies.values() if is_refused(reply))
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
        (whole,) = terms.restored([reply])
        if whole.has_error():
            return whole
        if terms.spoilt is not None:
            whole = terms.spoilt(message, whole)
        reason = why_refused(message.content, whole.content, terms.wants)
        if reason is not None:
            return _refused(message, reason)
        account.samples = _samples(whole.content, terms.wants.weight) or account.samples
        return whole

    @staticmethod
    def _refusals(
        messages: Sequence[Message], replies: Mapping[int, Message], wants: Wants
    ) -> dict[int, Message]:
        """Errors in the place of replies that cannot be aggregated with the others."""
        good = {place: reply.content for place, reply in replies.items() if reply.has_content()}
        if not good or not wants.alike:
            return {}
        odd = odd_ones(messages[min(good)].content, dict(sorted(good.items())), wants)
        rest = [content for place, content in good.items() if place not in odd]
        if (wants.trains or wants.averages) and all(_weighs_nothing(r, wants.weight) for r in rest):
            reason = f"metric {wants.weight} is 0 for all clients: there is nothing to weigh by"
            odd |= {place: reason for place in good.keys() - odd.keys()}
        return {place: _refused(messages[place], reason) for place, reason in odd.items()}

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


def _refused(message: Message, reason: str) -> Message:
    return reply_to(message, Error(ClientError.REFUSED, reason))


def _weighs_nothing(content: RecordDict, weight: str) -> bool:
    return any(metrics.get(weight) == 0 for metrics in content.metric_records.values())


def _samples(content: RecordDict, weight: str) -> float:
    for metrics in records_in(content, MetricRecord):
        value = entries_of(metrics).get(weight)
        if isinstance(value, int | float):
            return value
    return 0

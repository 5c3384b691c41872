"""What all Grids of ours have in common: they carry a ServerApp's messages to simulated clients."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from logging import WARNING
from math import inf

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from covey.federation.app_folder import ConfigValue
from covey.federation.client_runner import FIRST_NODE_ID, Answer, Question
from covey.federation.flower_internals import (
    FLOWER_LOGGER,
    ErrorCode,
    FlowerRun,
    become_server,
    empty_run,
    reply_to,
    set_message_id,
)
from covey.federation.records import entries_of, records_in

NOBODY = RecordDict()
"""What a client has kept that has kept nothing."""


class SimulatedGrid(Grid):
    """All clients on machines of ours; a message is answered when it is pushed.

    Client p (0-based) is node p + 2 and gets `partition-id` p and `num-partitions` in its context,
    as in Flower's simulation. Its `Context.state` lives as long as the grid. An exception in a
    client, or a reply that comes too late, becomes an error reply, and what that client did to its
    state is forgotten. Before each
    message `random`, numpy and torch are seeded from (seed, round, client, kind of message) and put
    back afterwards, so a reply depends neither on the order of the messages nor on who else was
    asked.

    `clock` gives seconds since the epoch for time limits and the messages' time to live; None lifts
    both, so that no result depends on the machine's speed. `before_batch` is called before messages
    are sent. `round` is the round of messages that do not say theirs (`server-round`).
    """

    def __init__(
        self,
        *,
        num_clients: int,
        run_config: Mapping[str, ConfigValue] | None = None,
        clock: Callable[[], float] | None = time.time,
        before_batch: Callable[[], None] | None = None,
    ) -> None:
        if num_clients < 1:
            raise ValueError(f"num_clients is {num_clients}; at least one client is needed")
        become_server()
        self.round: int | None = None
        self.num_clients = num_clients
        self.run_config = dict(run_config or {})
        self._node_ids = list(range(FIRST_NODE_ID, FIRST_NODE_ID + num_clients))
        self.states: dict[int, RecordDict] = {}
        """`Context.state` of each client (by partition id) that has kept something."""
        self.messages_sent = 0
        """Also the id of the newest message, so ids go on from here."""
        self.batches_sent = 0
        """Stands for the round in the seed of a message that belongs to none."""
        self._before: dict[int, RecordDict] = {}
        """What clients had kept before they were asked, since `mark`."""
        self._clock = clock
        self._before_batch = before_batch
        self._run = empty_run()
        self._run.override_config = dict(self.run_config)
        self._replies: dict[str, Message] = {}
        # Generators are process-wide: a ServerApp that sends from several threads takes turns.
        self._turn = threading.RLock()

    @abstractmethod
    def _answers(
        self, asked: Sequence[Question], left_s: Callable[[], float]
    ) -> Iterator[tuple[int, Answer]]:
        """Each question's place and answer, as they come; none for questions that were not begun
        when no seconds were left. Leaves the process's generators as they were.
        """

    def set_run(self, run: FlowerRun) -> None:
        """Set what `run` tells."""
        self._run = run

    @property
    def run(self) -> FlowerRun:
        """What Flower knows about the run: id and config."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """The older way to write `Message(...)`."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """All clients, always in the same order."""
        return self._node_ids.copy()  # strategies ask several times a round

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Answer the messages; the replies wait to be pulled. Returns the message ids in order."""
        replies = self._answer_all(messages, None)
        self._replies.update((reply.metadata.reply_to_message_id, reply) for reply in replies)
        return [reply.metadata.reply_to_message_id for reply in replies]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to these messages that were not pulled yet, in the order the messages were
        sent.
        """
        wanted = sorted(set(message_ids) & self._replies.keys(), key=int)
        return [self._replies.pop(message_id) for message_id in wanted]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """The replies in the order of the messages.

        After `timeout` seconds no further client is started.
        """
        return self._answer_all(messages, timeout)

    def mark(self) -> None:
        """What clients keep from here on can be taken back."""
        with self._turn:
            self._before = {}

    def take_back(self, nodes: Iterable[int]) -> None:
        """These clients keep what they had at the `mark`, for their replies are not used: else what
        they believe to have told would be lost.
        """
        with self._turn:
            for node in nodes:
                before = self._before.pop(node - FIRST_NODE_ID, None)
                if before is not None:
                    self._keep(node - FIRST_NODE_ID, before)

    def _answer_all(self, messages: Iterable[Message], timeout: float | None) -> list[Message]:
        with self._turn:
            if self._before_batch is not None:
                self._before_batch()
            self.batches_sent += 1
            clock = self._clock
            end = clock() + timeout if clock and timeout is not None else None
            replies: dict[int, Message] = {}
            asked: list[tuple[int, Question]] = []
            for place, message in enumerate(messages):
                self.messages_sent += 1
                set_message_id(message, str(self.messages_sent))
                client = message.metadata.dst_node_id - FIRST_NODE_ID
                if 0 <= client < self.num_clients:
                    state = self.states.get(client, NOBODY)
                    question = Question(client, message, self._round_of(message), state)
                    asked.append((place, question))
                else:
                    reason = f"there is no node {message.metadata.dst_node_id}"
                    replies[place] = reply_to(message, Error(ErrorCode.NODE_UNAVAILABLE, reason))
            questions = [question for _, question in asked]
            left_s = (lambda: end - clock()) if clock and end is not None else (lambda: inf)
            for number, answer in self._answers(questions, left_s):
                place, question = asked[number]
                replies[place] = self._reply(question, answer)
            return [replies[place] for place in sorted(replies)]

    def _reply(self, asked: Question, answer: Answer) -> Message:
        """The client's reply, unless it came too late for the message."""
        message, metadata = asked.message, asked.message.metadata
        if answer.story:
            FLOWER_LOGGER.log(WARNING, "client %d failed:\n%s", asked.client, answer.story)
        late = self._clock and self._clock() > metadata.created_at + metadata.ttl
        if late and isinstance(answer.content, RecordDict):
            reason = f"the reply came after the message's time to live, {metadata.ttl} s"
            return reply_to(message, Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason))
        self._before.setdefault(asked.client, asked.state)
        self._keep(asked.client, answer.state)
        return reply_to(message, answer.content)

    def _keep(self, client: int, state: RecordDict) -> None:
        if len(state):
            self.states[client] = state
        else:
            self.states.pop(client, None)

    def _round_of(self, message: Message) -> int:
        if message.has_content():
            for record in records_in(message.content, ConfigRecord):
                number = entries_of(record).get("server-round")
                if isinstance(number, int) and number >= 0:
                    return number
        return self.batches_sent if self.round is None else self.round

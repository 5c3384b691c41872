"""Flower Grids of ours: they carry a ServerApp's messages to ClientApps without a SuperLink.

`InlineGrid` runs the clients one after the other in this process.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from logging import WARNING

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from covey.federation.app_folder import ConfigValue
from covey.federation.flower_internals import (
    FLOWER_LOGGER,
    NUM_PARTITIONS_KEY,
    PARTITION_ID_KEY,
    RUN_ID,
    SUPERLINK_NODE_ID,
    ClientAppException,
    ErrorCode,
    FlowerRun,
    become_server,
    copy_records,
    deliver,
    empty_run,
    set_message_id,
)
from covey.federation.generators import preserved, seed_all

FIRST_NODE_ID = SUPERLINK_NODE_ID + 1


class InlineGrid(Grid):
    """All clients in this process; a message is answered when it is pushed.

    Client p (0-based) is node p + 2 and gets `partition-id` p and `num-partitions` in its context,
    as in Flower's simulation. Its `Context.state` lives as long as the grid. An exception in a
    client becomes an error reply, and what that client did to its state is forgotten. Before each
    message `random`, numpy and torch are seeded from (seed, round, client, kind of message) and put
    back afterwards, so a reply depends neither on the order of the messages nor on who else was
    asked.

    `clock` gives seconds since the epoch for time limits and the messages' time to live; None lifts
    both, so that no result depends on the machine's speed. `before_batch` is called before messages
    are sent. `round` is the round they belong to; None takes it from the messages (`server-round`).
    """

    def __init__(
        self,
        client_app: ClientApp,
        *,
        num_clients: int,
        seed: int = 0,
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
        self.states: dict[int, RecordDict] = {}
        """`Context.state` of each client (by partition id) that has kept something."""
        self.messages_sent = 0
        """Also the id of the newest message, so ids go on from here."""
        self.batches_sent = 0
        """Stands for the round in the seed of a message that belongs to none."""
        self._client_app = client_app
        self._seed = seed
        self._clock = clock
        self._before_batch = before_batch
        self._run = empty_run()
        self._run.override_config = dict(self.run_config)
        self._replies: dict[str, Message] = {}
        # Generators are process-wide: a ServerApp that sends from several threads takes turns.
        self._turn = threading.RLock()

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
        return list(range(FIRST_NODE_ID, FIRST_NODE_ID + self.num_clients))

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

    def _answer_all(self, messages: Iterable[Message], timeout: float | None) -> list[Message]:
        with self._turn:
            if self._before_batch is not None:
                self._before_batch()
            self.batches_sent += 1
            start = self._clock() if self._clock else 0.0
            replies: list[Message] = []
            waiting = list(messages)
            with preserved():
                for message in waiting:
                    if self._clock and timeout is not None and self._clock() - start >= timeout:
                        break
                    replies.append(self._answer(message))
            return replies

    def _answer(self, message: Message) -> Message:
        """One client's reply as it would come over the wire: it shares nothing that can change."""
        client = message.metadata.dst_node_id - FIRST_NODE_ID
        self.messages_sent += 1
        set_message_id(message, str(self.messages_sent))
        if not 0 <= client < self.num_clients:
            reason = f"there is no node {message.metadata.dst_node_id}"
            return Message(Error(ErrorCode.NODE_UNAVAILABLE, reason), reply_to=message)
        context = self._context(client)
        role = f"client {message.metadata.message_type}"
        try:
            seed_all(self._seed, role, self._round_of(message), client)
            reply = self._client_app(deliver(message), context)
            self._check(reply, message, context)
        except Exception as error:
            FLOWER_LOGGER.log(WARNING, "client %d failed:\n%s", client, traceback.format_exc())
            return Message(_error_of(error), reply_to=message)
        self._keep(client, context.state)
        if reply.has_error():
            return Message(reply.error, reply_to=message)
        if self._clock and self._clock() > message.metadata.created_at + message.metadata.ttl:
            reason = f"the reply came after the message's time to live, {message.metadata.ttl} s"
            return Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason), reply_to=message)
        return Message(copy_records(reply.content), reply_to=message)

    def _context(self, client: int) -> Context:
        """What the client sees of itself: a copy, so that a failed attempt leaves no trace."""
        return Context(
            run_id=RUN_ID,
            node_id=FIRST_NODE_ID + client,
            node_config={PARTITION_ID_KEY: client, NUM_PARTITIONS_KEY: self.num_clients},
            state=copy_records(self.states.get(client, RecordDict())),
            run_config=dict(self.run_config),
        )

    def _keep(self, client: int, state: RecordDict) -> None:
        if len(state):
            self.states[client] = state
        else:
            self.states.pop(client, None)

    def _check(self, reply: object, message: Message, context: Context) -> None:
        if not isinstance(reply, Message):
            raise TypeError(f"the ClientApp returned {type(reply).__name__}, not a Message")
        if reply.metadata.reply_to_message_id != message.metadata.message_id:
            raise ValueError("the ClientApp returned a Message that is no reply (reply_to=message)")
        if context.run_config != self.run_config:
            raise ValueError("the ClientApp changed context.run_config, which is not its own")

    def _round_of(self, message: Message) -> int:
        if self.round is not None:
            return self.round
        if message.has_content():
            for record in message.content.values():
                number = record.get("server-round") if isinstance(record, ConfigRecord) else None
                if isinstance(number, int) and number >= 0:
                    return number
        return self.batches_sent


def _error_of(error: Exception) -> Error:
    """The error reply that Flower's simulation makes of an exception in a client."""
    told = ClientAppException(str(error))
    return Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error)}:<'{told}'>")

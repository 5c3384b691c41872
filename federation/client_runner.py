"""One client's answer to one message, wherever it is computed."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flwr.app import Context, Error, Message, RecordDict

from covey.federation.app_folder import ConfigValue
from covey.federation.client_error import ClientError
from covey.federation.flower_internals import (
    NUM_PARTITIONS_KEY,
    PARTITION_ID_KEY,
    RUN_ID,
    SUPERLINK_NODE_ID,
    ClientAppException,
    ErrorCode,
    deliver,
)
from covey.federation.generators import seed_all
from covey.federation.records import copy_records

FIRST_NODE_ID = SUPERLINK_NODE_ID + 1


@dataclass(frozen=True, slots=True)
class Question:
    """A message to a client (by partition id), the round that it belongs to, and what the client
    has kept so far.
    """

    client: int
    message: Message
    round: int
    state: RecordDict


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client says, or an error, and what it keeps from now on."""

    content: RecordDict | Error
    state: RecordDict
    story: str = ""
    """The traceback of what the app raised."""


@dataclass(frozen=True)
class ClientRunner:
    """Runs a ClientApp. Before each message `random`, numpy and torch are seeded from (seed, round,
    client, kind of message): who calls it puts them back.
    """

    client_app: Callable[[Message, Context], Message]
    num_clients: int
    seed: int
    run_config: Mapping[str, ConfigValue]

    def answer(self, asked: Question) -> Answer:
        """As it would come over the wire: it shares nothing that can change. An exception in the
        app, `sys.exit` too, becomes an error, and what the client did to its state is forgotten.
        """
        context = self.context(asked)
        role = f"client {asked.message.metadata.message_type}"
        try:
            seed_all(self.seed, role, asked.round, asked.client)
            reply = self.client_app(deliver(asked.message), context)
            self._check(reply, asked.message, context)
            content = reply.error if reply.has_error() else _carried(reply.content)
            return Answer(content, copy_records(context.state))
        except (Exception, SystemExit) as error:  # sys.exit ends a client, never what runs it
            return failure(asked, error)

    def context(self, asked: Question) -> Context:
        """What the client sees of itself: a copy, so that a failed attempt leaves no trace."""
        return Context(
            run_id=RUN_ID,
            node_id=FIRST_NODE_ID + asked.client,
            node_config={PARTITION_ID_KEY: asked.client, NUM_PARTITIONS_KEY: self.num_clients},
            state=copy_records(asked.state),
            run_config=dict(self.run_config),
        )

    def _check(self, reply: object, message: Message, context: Context) -> None:
        if not isinstance(reply, Message):
            raise TypeError(f"the ClientApp returned {type(reply).__name__}, not a Message")
        if reply.metadata.reply_to_message_id != message.metadata.message_id:
            raise ValueError("the ClientApp returned a Message that is no reply (reply_to=message)")
        if context.run_config != self.run_config:
            raise ValueError("the ClientApp changed context.run_config, which is not its own")


def _carried(records: RecordDict) -> RecordDict | Error:
    """The records as the server gets them, or why it refuses them: an array that is not what its
    header says.
    """
    try:
        return copy_records(records)
    except ValueError as error:
        return Error(ClientError.REFUSED, str(error))


def failure(asked: Question, error: BaseException) -> Answer:
    """The error reply that Flower's simulation makes of an exception in a client."""
    told = ClientAppException(str(error))
    content = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error)}:<'{told}'>")
    return Answer(content, asked.state, "".join(traceback.format_exception(error)))

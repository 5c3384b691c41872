"""What Flower keeps to itself, but for its records (`records.py`).

Its public API can build and read messages, but not run them without a SuperLink: for that a process
needs an identity, a message an id, and a context a form on disk.
`tests/federation/test_flower_internals.py` fails, and names the thing, when a new version of Flower
has moved one of these.
"""

import logging
import sys
from collections.abc import Callable

from flwr.app import (
    Array,
    Error,
    Message,
    Metadata,
    RecordDict,
)
from flwr.client.mod.utils import make_ffn
from flwr.clientapp import ClientApp
from flwr.clientapp.client_app import ClientAppException
from flwr.common.constant import (
    NUM_PARTITIONS_KEY,
    PARTITION_ID_KEY,
    SUPERLINK_NODE_ID,
    ErrorCode,
)
from flwr.common.serde import (
    array_from_proto,
    array_to_proto,
    recorddict_from_proto,
    recorddict_to_proto,
)
from flwr.proto.recorddict_pb2 import Array as ProtoArray
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy, strategy_utils
from flwr.supercore.date import now
from flwr.supercore.logger import FLOWER_LOGGER
from flwr.supercore.run import Run as FlowerRun
from flwr.supercore.task_identity import TaskIdentity

from covey.federation.client_error import ClientError
from covey.federation.records import copy_records

__all__ = [
    "FLOWER_LOGGER",
    "NUM_PARTITIONS_KEY",
    "PARTITION_ID_KEY",
    "RUN_ID",
    "SUPERLINK_NODE_ID",
    "ClientAppException",
    "ErrorCode",
    "FlowerRun",
    "Metadata",
]

RUN_ID = 1
_flowers_sample_nodes = strategy_utils.sample_nodes
_flowers_average = strategy_utils.aggregate_arrayrecords


def become_server() -> None:
    """Let this process build messages as the server of run 1; `Message(...)` needs an identity."""
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SUPERLINK_NODE_ID
    TaskIdentity.task_id = RUN_ID


def empty_run() -> FlowerRun:
    """What a `Grid` tells an app about its run before anything is known."""
    return FlowerRun.create_empty(RUN_ID)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message the id that a SuperLink would give it."""
    message.metadata.__dict__["_message_id"] = message_id


def records_to_bytes(records: RecordDict) -> bytes:
    """Any records in Flower's own wire form, the same bytes for the same records."""
    return bytes(recorddict_to_proto(records).SerializeToString(deterministic=True))


def records_from_bytes(content: bytes) -> RecordDict:
    """The records that `records_to_bytes` wrote."""
    return recorddict_from_proto(ProtoRecordDict.FromString(content))


def array_to_bytes(array: Array) -> bytes:
    """An array of any serialisation type, byte for byte."""
    return bytes(array_to_proto(array).SerializeToString(deterministic=True))


def array_from_bytes(content: bytes) -> Array:
    """The array that `array_to_bytes` wrote."""
    return array_from_proto(ProtoArray.FromString(content))


def replace_start(start: Callable[..., object]) -> Callable[[], None]:
    """Put `start` in the place of `Strategy.start`; the returned function undoes it.

    Strategies that inherit `start` inherit the new one; one with a `start` of its own keeps it.
    """
    original = Strategy.start
    Strategy.start = start  # type: ignore[method-assign, assignment]

    def undo() -> None:
        Strategy.start = original  # type: ignore[method-assign]

    return undo


def replace_sample_nodes(sample_nodes: Callable[..., object]) -> Callable[[], None]:
    """Put `sample_nodes` in the place of Flower's; the returned function undoes it."""
    return _replace(_flowers_sample_nodes, sample_nodes)


def replace_average(average: Callable[..., object]) -> Callable[[], None]:
    """Put `average` in the place of Flower's `aggregate_arrayrecords`, likewise."""
    return _replace(_flowers_average, average)


def _replace(original: Callable[..., object], other: Callable[..., object]) -> Callable[[], None]:
    """Put a function in the place of Flower's, in every module that has imported it by its name:
    Flower's strategies, and an app's own.
    """
    name = original.__name__
    holders = [
        held
        for module in list(sys.modules.values())
        if (held := getattr(module, "__dict__", {})).get(name) is original
    ]
    for held in holders:
        held[name] = other

    def undo() -> None:
        for held in holders:
            held[name] = original

    return undo


def wait_for_nodes(grid: Grid, count: int) -> list[int]:
    """Wait, as Flower does, until a grid has so many nodes; all of them."""
    return _flowers_sample_nodes(grid, count, 0)[1]


def log_elsewhere(handler: logging.Handler) -> Callable[[], None]:
    """Send what Flower logs to `handler`, not to the console; the returned function undoes it."""
    handlers, propagate = list(FLOWER_LOGGER.handlers), FLOWER_LOGGER.propagate
    FLOWER_LOGGER.handlers[:] = [handler]
    FLOWER_LOGGER.propagate = False

    def undo() -> None:
        FLOWER_LOGGER.handlers[:] = handlers
        FLOWER_LOGGER.propagate = propagate

    return undo


def deliver(message: Message) -> Message:
    """The message as its receiver gets it: a copy of it and of its records."""
    content = message.error if message.has_error() else copy_records(message.content)
    return _made(_twin(message.metadata), content)


def reply_to(message: Message, content: RecordDict | Error) -> Message:
    """What `Message(content, reply_to=message)` makes, without the checks of its arguments, which
    cost more than all else that is done to a message.
    """
    asked = message.metadata
    reply = _twin(asked)
    created_at = now().timestamp()
    reply.__dict__.update(
        _message_id="",
        _src_node_id=asked.dst_node_id,
        _dst_node_id=asked.src_node_id,
        _reply_to_message_id=asked.message_id,
        _created_at=created_at,
        _ttl=asked.ttl - (created_at - asked.created_at),
        _src_task_id=asked.dst_task_id,
        _dst_task_id=asked.src_task_id,
    )
    return _made(reply, content)


def _made(metadata: Metadata, content: RecordDict | Error) -> Message:
    """As Flower's `make_message`, without its constructor's checks."""
    failed = isinstance(content, Error)
    message = Message.__new__(Message)
    message.__dict__.update(
        _metadata=metadata,
        _content=None if failed else content,
        _error=content if failed else None,
    )
    return message


def _twin(metadata: Metadata) -> Metadata:
    """As `copy`, which takes six times as long."""
    twin = Metadata.__new__(Metadata)
    twin.__dict__.update(metadata.__dict__)
    return twin


def message_of(metadata: Metadata, content: RecordDict) -> Message:
    """A message that somebody else has begun."""
    return _made(metadata, content)


def has_mods(client_app: ClientApp) -> bool:
    """Whether anything stands around the app's training."""
    train = client_app._registered_funcs.get("train.default")
    return bool(client_app._mods) or (train is not None and train.__module__ == make_ffn.__module__)


def refused(reply: Message, reason: str) -> Message:
    """An error in the place of a reply whose content cannot be used."""
    return _made(_twin(reply.metadata), Error(ClientError.REFUSED, reason))

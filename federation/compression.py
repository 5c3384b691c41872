"""Smaller replies: client mods that send part of an update, and the server's side of them.

A mod stands around the training of any Flower ClientApp: `ClientApp(mods=[top_k_mod(0.01)])`, or
`@app.train(mods=[quantised_mod(8)])`. What it leaves out of a reply it keeps in the client's
`Context.state` and adds to the next one (error feedback). The ServerApp puts `Restoring(...)`
around its strategy, outside any other wrapper. How an update is packed is `packing.py`'s work.
"""

from collections.abc import Callable, Iterable
from logging import WARNING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from covey.federation.flower_internals import FLOWER_LOGGER, refused
from covey.federation.packing import Packing, Quantised, TopK, packing_from
from covey.federation.sampling import wrapped
from covey.federation.weights import Vector, Weights, are_weights
from covey.federation.wrapping import Wrapping

CONFIG = "compression"
"""The record that tells how a reply's arrays are packed."""

LEFT_OUT = "compression-left-out"
"""The record of a client's state with what its replies have left out so far."""

CallNext = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, CallNext], Message]


def top_k_mod(fraction: float = 0.01) -> Mod:
    """A mod that sends the weights that changed most: a share of all, at least one.

    They arrive exactly; with `fraction` 1 it is as if there were no mod.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; it must be above 0 and at most 1")
    return _mod(TopK(fraction))


def quantised_mod(bits: int = 8) -> Mod:
    """A mod that sends each weight's change as a whole number of 1 to 16 bits."""
    return _mod(Quantised(bits))


def _mod(packing: Packing) -> Mod:
    def mod(message: Message, context: Context, call_next: CallNext) -> Message:
        return compress(packing, message, context, call_next)

    return mod


def compress(packing: Packing, message: Message, context: Context, call_next: CallNext) -> Message:
    """What the mods do: the reply of `call_next` with its model packed, if it holds one.

    ValueError when the reply's arrays are not those that the client received.
    """
    reply = call_next(message, context)
    if not message.metadata.message_type.startswith("train") or not reply.has_content():
        return reply
    names = list(reply.content.array_records)
    if len(names) != 1:
        raise ValueError(f"compression needs a reply with 1 record of arrays, found {len(names)}")
    trained = reply.content.array_records[names[0]]
    received = _received(message, trained)
    packable = [n for n in received if are_weights(received[n]) and are_weights(trained[n])]
    old, new = Weights.of(received, packable), Weights.of(trained, packable)
    if old.shapes != new.shapes:
        raise ValueError("compression needs arrays of the shapes that the message has")
    packed, left_out = packing.pack(new, old.flat, _left_out(context, new))
    arrays = {name: Array(array) for name, array in packed.items()}
    whole = {name: array for name, array in trained.items() if name not in packable}
    reply.content[names[0]] = ArrayRecord({**arrays, **whole})
    reply.content[CONFIG] = packing.config()
    context.state[LEFT_OUT] = ArrayRecord(new.arrays(left_out))
    return reply


def _received(message: Message, trained: ArrayRecord) -> ArrayRecord:
    for received in message.content.array_records.values():
        if set(received) == set(trained):
            return received
    raise ValueError("compression needs a reply with the arrays that the message has")


def _left_out(context: Context, like: Weights) -> Vector:
    record = context.state.array_records.get(LEFT_OUT, ArrayRecord())
    parts = [
        record[name].numpy().ravel() if name in record else np.zeros(size, kind)
        for name, size, kind in zip(like.names, like.sizes, like.kinds, strict=True)
    ]
    return np.concatenate(parts)


class Restoring(Wrapping):
    """Around the strategy of a server whose clients have one of the mods: it never sees a packed
    reply. A reply that cannot be what it says becomes an error, before memory is taken for it.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._sent: ArrayRecord | None = None  # the model of this round

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's own messages."""
        self._sent = arrays
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def restore(self, replies: Iterable[Message]) -> list[Message]:
        """The replies with whole models; those that are whole already stay as they are."""
        sent = self._sent
        return [reply if sent is None else restored_reply(reply, sent) for reply in replies]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's own result for the whole models."""
        restored = self.restore(replies)
        self._sent = None
        return self.strategy.aggregate_train(server_round, restored)


def restored(strategy: Strategy, replies: list[Message]) -> list[Message]:
    """The replies as `strategy` wants them; our loop asks before it counts who has failed."""
    for inner in wrapped(strategy):
        if isinstance(inner, Restoring):
            return inner.restore(replies)
    return replies


def restored_reply(reply: Message, sent: ArrayRecord) -> Message:
    """One reply with a whole model, `sent` being the one that the client received."""
    if not reply.has_content() or CONFIG not in reply.content.config_records:
        return reply
    try:
        packing = packing_from(reply.content.config_records[CONFIG])
        names = list(reply.content.array_records)
        if len(names) != 1:
            raise ValueError(f"{len(names)} records of arrays, 1 is expected")
        whole = _whole(packing, reply.content.array_records[names[0]], sent)
    except ValueError as error:
        node = reply.metadata.src_node_id
        FLOWER_LOGGER.log(WARNING, "the packed reply of node %d is refused: %s", node, error)
        return refused(reply, f"its packed arrays are refused: {error}")
    reply.content[names[0]] = whole
    del reply.content[CONFIG]
    return reply


def _whole(packing: Packing, packed: ArrayRecord, sent: ArrayRecord) -> ArrayRecord:
    arrays = {name: array for name, array in packed.items() if name not in packing.names}
    missing = [name for name in sent if name not in arrays]
    if not set(arrays) <= set(sent) or not set(packing.names) <= set(packed):
        raise ValueError(f"arrays called {sorted(packed)}")
    if not all(are_weights(sent[name]) for name in missing):
        raise ValueError(f"{', '.join(missing)} cannot all have been packed")
    old = Weights.of(sent, missing)
    arrays |= old.arrays(packing.unpack({name: packed[name] for name in packing.names}, old))
    return ArrayRecord({name: arrays[name] for name in sent})

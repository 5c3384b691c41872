"""What goes from peer to peer: arrays by name, a row for each sender."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Message = dict[str, NDArray[Any]]
SAMPLES = "samples"
"""[n, 1] int64: how many the senders have, where nobody else can know. Beside their vectors."""
MOST_SAMPLES = 2**53 - 1
"""The greatest whole number up to which a float has them all."""


def check_message(message: Message, own: Message) -> None:
    """ValueError unless what a neighbour has sent looks like what this peer sends, in names, shapes
    and types, all its numbers are finite, and it tells of no impossible samples.
    """
    if message.keys() != own.keys():
        raise ValueError(f"arrays called {sorted(message)[:4]} where {sorted(own)} are to be")
    for name, array in message.items():
        expected = own[name]
        if (array.shape, array.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"{name} of {array.dtype} {array.shape} where {expected.dtype} {expected.shape} is "
                "to be"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} with numbers that are not finite")
        if name == SAMPLES and not (0 <= array.min() and array.max() <= MOST_SAMPLES):
            raise ValueError(f"{array.min()} to {array.max()} samples")


def message_bytes(message: Message) -> int:
    """The size of one peer's message."""
    return sum(array[0].nbytes for array in message.values())


def in_one(message: Message) -> NDArray[Any]:
    """One peer's message as one array: its only array [N], or the bytes of all [B], by name."""
    if len(message) == 1:
        (array,) = message.values()
        only: NDArray[Any] = array[0]
        return only
    parts = [np.ascontiguousarray(message[name][0]).view(np.uint8) for name in sorted(message)]
    return np.concatenate([part.reshape(-1) for part in parts])


def out_of_one(written: NDArray[Any], own: Message) -> Message:
    """The message that `in_one` has written, for a peer whose own looks the same. ValueError for
    one that cannot be.
    """
    if len(own) == 1:
        (name,) = own
        found = {name: written[None]}
    else:
        if written.dtype != np.uint8 or written.shape != (message_bytes(own),):
            raise ValueError(f"{written.dtype} {written.shape} where bytes are to be")
        found, first = {}, 0
        for name in sorted(own):
            like = own[name]
            last = first + like[0].nbytes
            found[name] = written[first:last].copy().view(like.dtype).reshape(like.shape)
            first = last
    check_message(found, own)
    return found


def stacked(messages: list[Message]) -> Message:
    """Of several senders, in their order."""
    return {name: np.concatenate([one[name] for one in messages]) for name in messages[0]}

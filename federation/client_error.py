"""Why a client's reply is an error, where Flower has no code for it."""

from enum import IntEnum


class ClientError(IntEnum):
    """The `code` of an error reply that the server makes itself; Flower's own are below 100."""

    DROPPED = 1001
    """A simulated client that never answers, or takes longer than the round's virtual limit."""
    LATE = 1002
    """No reply came within the round's time on the clock."""
    REFUSED = 1003
    """A reply came whose content would spoil the model."""

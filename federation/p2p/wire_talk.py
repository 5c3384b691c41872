"""The short messages between peers, beside the vectors: hello, goodbye, and the answers."""

from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from covey.federation.p2p.peer_files import PeerName
from covey.federation.p2p.wire_header import MAX_HEADER, Whole, Wired
from covey.federation.p2p.wire_inbox import Verdict
from covey.federation.p2p.wire_refusal import Refused

Facts = Annotated[
    dict[PeerName, int | float | Annotated[str, Field(max_length=200)]], Field(max_length=32)
]
"""What a peer tells of itself, such as its number of samples: {"samples": 600}."""


class Hello(Wired):
    """From one that starts, joins, or asks whether the other is back; or asks for its vector, or
    says goodbye.
    """

    run: PeerName
    sender: PeerName
    session: Whole
    round: Whole
    """The first in which the sender sends to the one that it calls, or may still."""
    facts: Facts = Field(default_factory=dict)


class Greeting(Wired):
    """The answer to a hello."""

    session: Whole
    """The newest of the asking peer's that the other knows, 0 if none: its clock may have gone
    back.
    """
    round: Whole
    """The first in which the answering peer sends to the asking one and waits for it."""
    facts: Facts = Field(default_factory=dict)


class Receipt(Wired):
    """The answer to a vector."""

    verdict: Verdict
    round: Whole
    """The first in which the receiver sends to the sender, or one before that."""


Talk = TypeVar("Talk", bound=Wired)


def parse_talk(data: bytes, kind: type[Talk]) -> Talk:
    """Refused when the bytes are no message of this kind."""
    if len(data) > MAX_HEADER:
        raise Refused("header", f"{len(data)} bytes of a message of at most {MAX_HEADER}")
    try:
        return kind.model_validate_json(data)
    except ValidationError:
        raise Refused("header", f"no {kind.__name__.lower()} message") from None

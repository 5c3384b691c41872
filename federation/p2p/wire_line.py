"""The way to one neighbour: a connection that is kept, deadlines, and tries with growing pauses."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from covey.federation.p2p.wire_header import (
    CHUNK,
    HEADER_KEY,
    MAX_HEADER,
    Cut,
    Form,
    Header,
    Vector,
    joined,
    parse_header,
)
from covey.federation.p2p.wire_refusal import Refused
from covey.federation.p2p.wire_service import MAX_CALL_S, SERVICE
from covey.federation.p2p.wire_talk import Greeting, Hello, Receipt, parse_talk

TRIES = 5
"""Before a neighbour that cannot be reached is down: with the pauses about 2 s."""
PAUSE_S, MAX_PAUSE_S = 0.1, 2.0
"""The first pause and the longest; each is shortened at random by up to half."""
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}
"""What a connection that breaks looks like from here."""
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED
"""The other side says that it is too early: it lives, so the tries are not counted."""
LOST = {
    state.value[0]
    for state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
}
FRAME = CHUNK + 64
"""The longest message within a stream, on either side."""
Answer = TypeVar("Answer")


class Unreachable(Exception):
    """No answer within the tries or the deadline."""


class TurnedAway(Exception):
    """The other side refuses what it was sent; it would again."""


@dataclass(frozen=True)
class Patience:
    """How long to go on: until a time of `time.monotonic`, and how often without an answer."""

    until: float
    tries: int | None = TRIES


class Line:
    """To one peer; may be used by several threads."""

    def __init__(
        self,
        peer: str,
        address: Callable[[], str],
        credentials: Any,
        count: Callable[..., None],
    ) -> None:
        """`address()` may change, or raise Unreachable: the list of peers is read again when its
        file changes.
        """
        self._peer = peer
        self._address = address
        self._credentials = credentials
        self._count = count
        self._lock = threading.Lock()
        self._connected_to = ""
        self._channel: Any = None
        self._closed = False

    def send(self, header: Header, vector: Cut, patience: Patience) -> Receipt:
        """Send a vector; raises Unreachable or TurnedAway."""
        encoded = header.encoded()

        def call(channel: Any, timeout_s: float) -> Receipt:
            send = channel.stream_unary(f"/{SERVICE}/Send")
            metadata = ((HEADER_KEY, encoded),)
            answer = send(iter(vector.chunks), timeout=timeout_s, metadata=metadata)
            return parse_talk(answer, Receipt)

        receipt = self._try(call, patience)
        self._count(messages_sent=1, bytes_sent=len(encoded) + vector.size_bytes)
        return receipt

    def greet(self, hello: Hello, patience: Patience) -> Greeting:
        """Say hello; raises Unreachable or TurnedAway."""
        return self._short("Greet", hello, patience, lambda answer: parse_talk(answer, Greeting))

    def leave(self, hello: Hello, patience: Patience) -> None:
        """Say goodbye; raises Unreachable or TurnedAway."""
        self._short("Leave", hello, patience, lambda answer: None)

    def fetch(self, hello: Hello, form: Form, patience: Patience) -> tuple[Header, Vector]:
        """The vector that the peer has published; raises Unreachable or TurnedAway."""

        encoded = hello.encoded()

        def call(channel: Any, timeout_s: float) -> tuple[Header, Vector]:
            fetch = channel.unary_stream(f"/{SERVICE}/Fetch")
            answers: Iterator[bytes] = fetch(encoded, timeout=timeout_s)
            header = parse_header(next(answers))
            if (header.run, header.sender) != (hello.run, self._peer):
                raise Refused("other-sender", f"a vector of {header.sender} in {header.run}")
            form.check(header)
            return header, joined(header, answers)

        header, vector = self._try(call, patience)
        self._count(bytes_received=header.size_bytes)
        return header, vector

    @property
    def is_lost(self) -> bool:
        """Whether there was a connection and it has ended; False while a new one is made."""
        with self._lock:
            if self._channel is None:
                return False
            # gRPC's public way, `subscribe`, looks from a thread of its own, which ends with a
            # traceback where the channel is closed meanwhile. Here nobody closes it.
            state: int = self._channel._channel.check_connectivity_state(False)
            return state in LOST

    def reconnect(self) -> None:
        """End the connection; the next call makes a new one."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel, self._connected_to = None, ""

    def close(self) -> None:
        """End the connection and all calls on it, for good."""
        self._closed = True
        self.reconnect()

    def _short(
        self, name: str, hello: Hello, patience: Patience, read: Callable[[bytes], Answer]
    ) -> Answer:
        encoded = hello.encoded()

        def call(channel: Any, timeout_s: float) -> Answer:
            method = channel.unary_unary(f"/{SERVICE}/{name}")
            return read(method(encoded, timeout=timeout_s))

        return self._try(call, patience)

    def _try(self, call: Callable[[Any, float], Answer], patience: Patience) -> Answer:
        pause_s, missed = PAUSE_S, 0
        while True:
            left_s = patience.until - time.monotonic()
            if left_s <= 0:
                raise Unreachable(f"{self._peer} has not answered in time")
            try:
                return call(self._open(), min(left_s, MAX_CALL_S))
            except ValueError:
                pass  # gRPC's word for a channel that was closed here, to connect anew or for good
            except (Refused, StopIteration) as error:
                text = f"{self._peer} answers with what cannot be used: {error}"
                raise TurnedAway(text) from None
            except grpc.RpcError as error:
                missed += self._is_miss(error)
                if patience.tries is not None and missed >= patience.tries:
                    text = f"{self._peer} could not be reached: {error.details()}"
                    raise Unreachable(text) from None
            if self._closed:
                raise Unreachable(f"the connection to {self._peer} was closed here")
            self._count(retries=1)
            time.sleep(min(pause_s * random.uniform(0.5, 1), max(0, left_s)))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _is_miss(self, error: Any) -> bool:
        """Whether there was no answer (and not only "too early"). Raises when there is no use in
        trying again.
        """
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise Unreachable(f"{self._peer} has not answered in time") from None
        if error.code() is not BUSY and error.code() not in AGAIN:
            raise TurnedAway(f"{self._peer} refuses: {error.details()}") from None
        return error.code() is not BUSY

    def _open(self) -> Any:
        """The channel, made anew when the peer has another address now."""
        address = self._address()
        with self._lock:
            if address != self._connected_to:
                if self._channel is not None:
                    self._channel.close()
                self._channel = grpc.secure_channel(address, self._credentials, self._options())
                self._connected_to = address
            return self._channel

    def _options(self) -> list[tuple[str, object]]:
        return [
            # Whoever has this name in a certificate of the root is the peer, wherever it runs.
            ("grpc.ssl_target_name_override", self._peer),
            ("grpc.max_receive_message_length", max(FRAME, MAX_HEADER)),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # ours count them
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 5_000),  # this is how long a handshake may take
            ("grpc.max_reconnect_backoff_ms", 2_000),
            # Asked only while a call waits and nothing moves: a cut line is then found in 15 s.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 0),
        ]

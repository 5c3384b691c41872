"""The side of a peer that answers: four calls over mutual TLS, each checked before it is served.

    /covey.Peer/Send     header in the metadata, stream of chunks -> Receipt
    /covey.Peer/Fetch    Hello -> Header, stream of chunks: the vector that was published
    /covey.Peer/Greet    Hello -> Greeting
    /covey.Peer/Leave    Hello -> nothing

TLS has shown that the caller's certificate is signed by the root. Who it is, whether the
certificate is still good, and whether the message is its own, is asked here on every call.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import unquote

import grpc

from covey.federation.p2p.peer_roster import Roster
from covey.federation.p2p.wire_figures import Figures
from covey.federation.p2p.wire_header import HEADER_KEY, Cut, Form, Header, joined, parse_header
from covey.federation.p2p.wire_inbox import Inbox, Verdict
from covey.federation.p2p.wire_refusal import NotNow, Refusals, Refused
from covey.federation.p2p.wire_talk import Greeting, Hello, Receipt, parse_talk

SERVICE = "covey.Peer"
MAX_CALL_S = 600.0
"""The longest deadline of a call; gRPC ends it then, whatever the other side does."""
CALLS_AT_ONCE = 4
"""Of one peer; a connection that was lost may still look alive from here."""
FINAL = {"kind", "dtype", "shape", "size", "not-finite", "digest"}
"""Reasons to refuse a vector after which its sender does not try again."""


class Owner(Protocol):
    """The peer behind the service; called by several threads."""

    def vector_came(self, header: Header) -> None:
        """A vector is in the inbox."""

    def vector_was_early(self, header: Header) -> None:
        """One was held back."""

    def revoked_came(self, peer: str) -> None:
        """A peer has called whose certificate is revoked."""

    def sends_from(self, peer: str) -> int:
        """The first round in which that peer is sent something."""

    def hello_came(self, hello: Hello) -> Greeting:
        """A peer has started, joined, or asks whether this one is there."""

    def goodbye_came(self, sender: str) -> None:
        """A peer leaves."""

    def published(self) -> tuple[Header, Cut] | None:
        """What may be fetched."""


class Service:
    """Handlers of the calls; they run in the server's threads."""

    def __init__(
        self,
        roster: Roster,
        neighbours: Collection[str] | None,
        forms: Mapping[str, Form],
        inbox: Inbox,
        refusals: Refusals,
        figures: Figures,
        owner: Owner,
        called: Callable[[str], None],
    ) -> None:
        """`neighbours`: those whose vectors are taken; None for all listed peers. `called` is told
        the address of every caller whose certificate TLS has accepted.
        """
        self._roster = roster
        self._neighbours = neighbours
        self._forms = forms
        self._inbox = inbox
        self._refusals = refusals
        self._figures = figures
        self._owner = owner
        self._called = called
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()

    def handler(self) -> Any:
        """For gRPC, which takes and gives bytes: nothing is unpacked before the checks."""
        calls = {
            "Send": grpc.stream_unary_rpc_method_handler(self._send),
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet),
            "Leave": grpc.unary_unary_rpc_method_handler(self._leave),
            "Fetch": grpc.unary_stream_rpc_method_handler(self._fetch),
        }
        return grpc.method_handlers_generic_handler(SERVICE, calls)

    def _send(self, chunks: Iterator[bytes], context: Any) -> bytes:
        with self._caller(context) as caller:
            header = parse_header(dict(context.invocation_metadata()).get(HEADER_KEY, b""))
            self._check_sender(caller, header.sender, header.run)
            if self._neighbours is not None and caller not in self._neighbours:
                raise Refused("not-a-neighbour", "it sends a vector but is no neighbour")
            try:
                verdict = self._taken(header, chunks)
            except NotNow:
                self._owner.vector_was_early(header)
                raise
            except Refused as refused:
                if refused.reason in FINAL:
                    self._inbox.miss(header)
                raise
            if verdict == "new":
                self._figures.count(messages_received=1, bytes_received=header.size_bytes)
                self._owner.vector_came(header)
            else:
                self._figures.count(**{verdict: 1})
            return Receipt(verdict=verdict, round=self._owner.sends_from(caller)).encoded()

    def _taken(self, header: Header, chunks: Iterator[bytes]) -> Verdict:
        form = self._forms.get(header.kind)
        if form is None:
            raise Refused("kind", f"a vector of kind {header.kind}, which nobody expects")
        form.check(header)
        with self._inbox.arriving(header) as verdict:
            if verdict == "new":
                verdict = self._inbox.put(header, joined(header, _alive(chunks)))
        return verdict

    def _greet(self, request: bytes, context: Any) -> bytes:
        with self._caller(context) as caller:
            return self._owner.hello_came(self._hello(caller, request)).encoded()

    def _leave(self, request: bytes, context: Any) -> bytes:
        with self._caller(context) as caller:
            self._owner.goodbye_came(self._hello(caller, request).sender)
            return b""

    def _fetch(self, request: bytes, context: Any) -> Iterator[bytes]:
        with self._caller(context) as caller:
            self._hello(caller, request)
            published = self._owner.published()
            if published is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "nothing is published yet")
                return  # not reached: abort raises
            header, vector = published
            yield header.encoded()
            yield from vector.chunks
            self._figures.count(bytes_sent=vector.size_bytes)

    def _hello(self, caller: str, request: bytes) -> Hello:
        hello = parse_talk(request, Hello)
        self._check_sender(caller, hello.sender, hello.run)
        return hello

    def _check_sender(self, caller: str, sender: str, run: str) -> None:
        if sender != caller:
            raise Refused("other-sender", f"it sends in the name of {sender}")
        if run != self._roster.run:
            raise Refused("other-run", f"a message of the run {run}, this is {self._roster.run}")

    @contextmanager
    def _caller(self, context: Any) -> Iterator[str]:
        """The name of a caller that may call; whatever is refused within ends the call so."""
        self._called(unquote(context.peer()))  # brackets of IPv6 come as %5B
        name = "somebody"
        try:
            shown = context.auth_context()
            name = shown["x509_common_name"][0].decode(errors="replace")[:60]
            self._roster.check(name, shown["x509_pem_cert"][0])
            if context.time_remaining() > MAX_CALL_S + 1:
                raise Refused("deadline", f"a call without a deadline of {MAX_CALL_S:g} s at most")
            with self._turn(name):
                yield name
        except Refused as refused:
            self._refusals.count(name, refused.reason, str(refused))
            if self._roster.is_revoked(name):
                self._owner.revoked_came(name)
            context.abort(refused.code, f"{refused.reason}: {refused}")
        except NotNow as early:
            self._figures.count(held_back=1)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(early))

    @contextmanager
    def _turn(self, caller: str) -> Iterator[None]:
        with self._lock:
            if self._busy[caller] >= CALLS_AT_ONCE:
                raise NotNow(f"{CALLS_AT_ONCE} calls at once are served")
            self._busy[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy[caller] -= 1


def _alive(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, until there are no more or the call is over, whichever way it ended."""
    try:
        yield from chunks
    except grpc.RpcError:
        return

"""How a peer exchanges vectors with its neighbours: all that its loop uses of the wire.

with Exchange(load_peer_config(file), {"vector": Form("float32", (size,))}, note) as exchange:
    exchange.start()
    exchange.greet(neighbours, timeout_s=60)
    for round in range(rounds):
        ...  # local steps
        theirs = exchange.exchange(round, 0, vector, neighbours, timeout_s=10)
        ...  # mix with those that came; renormalise the weights of the others away
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from covey.federation.p2p.peer_config import PeerConfig
from covey.federation.p2p.peer_neighbours import Neighbours
from covey.federation.p2p.peer_roster import Roster
from covey.federation.p2p.peer_states import Neighbour
from covey.federation.p2p.wire_calls import Calls
from covey.federation.p2p.wire_figures import Figures
from covey.federation.p2p.wire_header import Cut, Form, Header, Vector, cut
from covey.federation.p2p.wire_inbox import Arrived, Inbox, Place
from covey.federation.p2p.wire_line import Patience
from covey.federation.p2p.wire_refusal import Note, Refusals, Refused
from covey.federation.p2p.wire_server import Server
from covey.federation.p2p.wire_service import Service
from covey.federation.p2p.wire_talk import Facts, Greeting, Hello

VECTOR = "vector"
GREET_AGAIN_S = 5.0
GRACE_S = 0.5
LOOK_AFTER_S = 1.0
"""After which a neighbour's connection is watched, as it may have ended after it was sent to."""


class Exchange:
    """One peer's ends of all its connections. Its methods are for one thread, that of the peer's
    loop; calls from others are served by threads of its own.
    """

    def __init__(
        self, config: PeerConfig, forms: Mapping[str, Form], note: Note, facts: Facts | None = None
    ) -> None:
        """`forms`: the kinds of vectors there are. `note(kind, message, **facts)` is told what
        happens, by any thread. `facts` are told to whoever says hello. UserError when the files or
        the port cannot be used, ValueError for more than about 4 kB of facts.
        """
        self.name = config.peer
        self._forms = forms
        self._facts = facts or {}
        self._published: tuple[Header, Cut] | None = None
        self._figures = Figures()
        self._refusals = Refusals(note)
        self._roster = Roster(Path(config.peers), Path(config.revoked), note)
        self._inbox = Inbox()
        self._neighbours = Neighbours(note)
        self._server = Server(config, self._refusals)
        self.port = self._server.port
        self._service = Service(
            self._roster,
            config.neighbours,
            forms,
            self._inbox,
            self._refusals,
            self._figures,
            self,
            self._server.called,
        )
        self._calls = Calls(
            self.name,
            self._roster,
            self._server.credentials,
            self._neighbours,
            self._inbox,
            self._figures,
            note,
            self._facts,
        )

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self, round: int = 0) -> None:
        """Listen from now on. `round` is the first that will be exchanged, after a resume not 0."""
        self._neighbours.begin_at(round)
        self._inbox.begin((round, 0))
        self._server.start(self._service.handler())

    def greet(
        self,
        peers: Collection[str],
        timeout_s: float,
        agreed: Callable[[Sequence[int]], int] = max,
    ) -> dict[str, Greeting]:
        """Say hello and wait for the answers of all; whoever does not answer in time is down.

        When others are at a later round, this peer goes on there, at the one that is `agreed` of
        theirs: `round` tells, and the vector of one of them can be fetched.
        """
        answers = self._calls.greet(peers, Patience(time.monotonic() + timeout_s, tries=None))
        latest = agreed([answer.round for answer in answers.values()]) if answers else 0
        if latest > self.round:
            self._neighbours.begin_at(latest)
            self._inbox.begin((latest, 0))
            # So that those behind do not wait for it before. They have just answered.
            self._calls.greet(answers, Patience(time.monotonic() + GREET_AGAIN_S))
        return answers

    @property
    def round(self) -> int:
        """The first that this peer has not begun."""
        return self._neighbours.next_round

    def exchange(
        self,
        round: int,
        step: int,
        vector: Vector,
        neighbours: Collection[str],
        timeout_s: float,
        *,
        receive_from: Collection[str] | None = None,
        kind: str = VECTOR,
    ) -> dict[str, Vector]:
        """Send the vector to the neighbours and return theirs of the same round and step.

        Where links have a direction, `receive_from` are those whose vectors come in; it may be
        empty. Whoever has left, is down, or sends nothing within `timeout_s`, is missing in the
        result. (round, step) must grow from call to call. ValueError for a vector of another form
        than all expect, or one that is not finite.
        """
        until = time.monotonic() + timeout_s
        place = (round, step)
        header, pieces = self._ready(round, step, kind, vector)
        self._neighbours.begin(round)
        self._inbox.begin(place)
        incoming = neighbours if receive_from is None else receive_from
        everybody = {*neighbours, *incoming}
        for peer in everybody.difference(self._calls.possible(everybody)):
            self._neighbours.failed(peer, round, "its certificate is revoked, or it is not listed")
        # Asked before anything is sent: what comes in meanwhile may bring somebody back.
        send_to = self._neighbours.taking_part(neighbours, round)
        wait_for = self._neighbours.taking_part(incoming, round)
        self._calls.ask(everybody, round, until)
        sent = self._calls.send(send_to, header, pieces, until)
        arrived = self._collect(wait_for, send_to, place, until)
        problems = {peer: problem for peer, done in sent.items() if (problem := done.result())}
        missing = [peer for peer in wait_for if peer not in arrived]
        arrived |= self._inbox.collect(missing, place, 0)  # came while the others were sent to
        self._inbox.finish(place)
        theirs = self._of_kind(kind, arrived)
        for peer in wait_for:
            if peer not in theirs and not self._inbox.is_past(peer, place):
                why = problems.get(peer, f"nothing came from it for step {step}")
                self._neighbours.failed(peer, round, why)
        for peer in set(send_to) - set(wait_for):  # nothing comes from these: their answers count
            if peer in problems:
                self._neighbours.failed(peer, round, problems[peer])
            else:
                self._neighbours.took(peer)
        return theirs

    def publish(self, round: int, vector: Vector, kind: str = VECTOR) -> None:
        """Let others fetch this vector; a copy is kept until the next one."""
        self._published = self._ready(round, 0, kind, vector)

    def fetch(self, peer: str, timeout_s: float, kind: str = VECTOR) -> tuple[int, Vector] | None:
        """The round and the vector that a peer has published; None when there is none to be had."""
        patience = Patience(time.monotonic() + timeout_s)
        fetched = self._calls.fetch(peer, self._forms[kind], patience)
        return None if fetched is None else (fetched[0].round, fetched[1])

    def leave(self, timeout_s: float = 2.0) -> None:
        """Say goodbye to all neighbours that are there, so that nobody waits for this peer."""
        up = self._neighbours.taking_part(self.neighbours(), self.round)
        patience = Patience(time.monotonic() + timeout_s, tries=1)
        self._calls.leave(self._calls.possible(up), patience)

    def neighbours(self) -> dict[str, Neighbour]:
        """Whoever this peer has dealt with: up, down or left, and the round it was heard at."""
        return self._neighbours.view()

    def figures(self) -> dict[str, int]:
        """Counts since the start, by the names of `Figures`, and all that was `refused`."""
        refused = sum(sum(reasons.values()) for reasons in self.refused().values())
        return {**self._figures.view(), "refused": refused}

    def refused(self) -> dict[str, dict[str, int]]:
        """How many calls and connections were turned away: by peer (or address, where no name is
        known) and reason.
        """
        self._server.sweep()
        return self._refusals.by_peer()

    def refuse(self, peer: str, reason: str, text: str) -> None:
        """Count what the peer's loop does not take, such as a message that cannot be decoded."""
        self._refusals.count(peer, reason, text)

    def close(self) -> None:
        """End all connections and stop listening."""
        self._server.stop(GRACE_S)
        self._calls.close()

    # What the service asks for: see `Owner`.

    def vector_came(self, header: Header) -> None:
        self._neighbours.sent(header.sender, header.round)

    def vector_was_early(self, header: Header) -> None:
        if not self._inbox.holds(header.sender):  # else it is only quicker
            self._neighbours.told(header.sender, header.round)

    def revoked_came(self, peer: str) -> None:
        self._inbox.give_up(peer)

    def sends_from(self, peer: str) -> int:
        return self._neighbours.sends_from(peer)

    def hello_came(self, hello: Hello) -> Greeting:
        sender = hello.sender
        known = max(self._neighbours.session(sender), self._inbox.session(sender))
        if hello.session < known:
            return Greeting(session=known, round=self.round, facts=self._facts)
        both = self._neighbours.greeted(sender, hello.session, hello.round, hello.facts)
        self._inbox.skip(sender, both, hello.session)
        return Greeting(session=known, round=self.sends_from(sender), facts=self._facts)

    def goodbye_came(self, sender: str) -> None:
        self._neighbours.left(sender, self._inbox.place[0])
        self._inbox.give_up(sender)

    def published(self) -> tuple[Header, Cut] | None:
        return self._published

    def _collect(
        self, wait_for: Collection[str], sent_to: Collection[str], place: Place, until: float
    ) -> dict[str, Arrived]:
        arrived = self._inbox.collect(wait_for, place, min(until, time.monotonic() + LOOK_AFTER_S))
        missing = [peer for peer in wait_for if peer not in arrived]
        if missing:
            with self._calls.watching([p for p in missing if p in sent_to], until):
                arrived |= self._inbox.collect(missing, place, until)
        return arrived

    def _of_kind(self, kind: str, arrived: Mapping[str, Arrived]) -> dict[str, Vector]:
        for peer, other in arrived.items():
            if other.kind != kind:
                text = f"a vector of kind {other.kind}, {kind} is expected here"
                self._refusals.count(peer, "kind", text)
        return {peer: other.vector for peer, other in arrived.items() if other.kind == kind}

    def _ready(self, round: int, step: int, kind: str, vector: Vector) -> tuple[Header, Cut]:
        pieces = cut(vector)
        header = Header(
            run=self._roster.run,
            sender=self.name,
            session=self._calls.session,
            round=round,
            step=step,
            kind=kind,
            dtype=pieces.dtype,
            shape=pieces.shape,
            digest=pieces.digest,
        )
        try:
            self._forms[kind].check(header)
        except Refused as refused:
            raise ValueError(f"a vector of kind {kind}: {refused}") from None
        if vector.dtype.kind in "fc" and not np.isfinite(vector).all():
            raise ValueError("the vector holds numbers that are not finite")
        return header, pieces

"""The side of a peer that calls: a line to each of the others, and threads that wait on them."""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock, Thread

from covey.federation.p2p.peer_neighbours import Neighbours
from covey.federation.p2p.peer_roster import Roster
from covey.federation.p2p.wire_figures import Figures
from covey.federation.p2p.wire_header import Cut, Form, Header, Vector
from covey.federation.p2p.wire_inbox import Inbox
from covey.federation.p2p.wire_line import Line, Patience, TurnedAway, Unreachable
from covey.federation.p2p.wire_refusal import Note
from covey.federation.p2p.wire_server import Credentials
from covey.federation.p2p.wire_talk import Facts, Greeting, Hello

THREADS = 64
ASK_TRIES = 2
HURRY_S, LOOK_S = 2.0, 0.5
WATCH_S = 0.2
"""Between two looks at connections that may be lost."""


class Calls:
    """Of one peer to all others."""

    def __init__(
        self,
        name: str,
        roster: Roster,
        credentials: Credentials,
        neighbours: Neighbours,
        inbox: Inbox,
        figures: Figures,
        note: Note,
        facts: Facts,
    ) -> None:
        self._name = name
        self._roster = roster
        self._credentials = credentials
        self._neighbours = neighbours
        self._inbox = inbox
        self._figures = figures
        self._note = note
        self._facts = facts
        self._lock = Lock()
        self._asking: set[str] = set()
        self._lines: dict[str, Line] = {}
        self._pool = ThreadPoolExecutor(THREADS, f"{name}-line")
        self.session = time.time_ns()
        """Greater than before the last start, unless the clock went back: see `_greet`."""
        self._hello(name).encoded()  # ValueError here, and not in some thread, for too many facts

    def possible(self, peers: Collection[str]) -> list[str]:
        """Those of the peers that are listed and whose certificates are good."""
        listed = self._roster.peers()
        return [peer for peer in peers if peer in listed and not self._roster.is_revoked(peer)]

    def send(
        self, peers: Collection[str], header: Header, pieces: Cut, until: float
    ) -> dict[str, "Future[str | None]"]:
        """Send a vector to several at once; the results are why it did not work, or None."""
        return {peer: self._pool.submit(self._send, peer, header, pieces, until) for peer in peers}

    def greet(self, peers: Collection[str], patience: Patience) -> dict[str, Greeting]:
        """Say hello to several at once and wait for their answers. Others are down. When one that
        answers is at a later round than this peer, and may be waiting for it, the rest get
        `HURRY_S` more; nobody waits for one that has said goodbye.
        """
        ours = self._neighbours.next_round
        asked = {
            self._pool.submit(self._greet, peer, patience): peer for peer in self.possible(peers)
        }
        answers: dict[str, Greeting] = {}
        for asking in _until_hurried(
            asked, lambda answer: answer.round > ours, self._neighbours.has_left
        ):
            answer = asking.result() if asking.done() else "it has not answered yet"
            if isinstance(answer, str):
                self._neighbours.failed(asked[asking], ours, answer)
            else:
                answers[asked[asking]] = answer
        return answers

    def ask(self, peers: Collection[str], round: int, until: float) -> None:
        """Ask those that are down and due whether they are back. Nobody waits for the answers,
        which count from the next round on.
        """
        due = self._neighbours.due(self.possible(peers), round)
        with self._lock:
            due = [peer for peer in due if peer not in self._asking]
            self._asking.update(due)
        for peer in due:
            self._pool.submit(self._ask, peer, round, Patience(until, ASK_TRIES))

    @contextmanager
    def watching(self, peers: Collection[str], until: float) -> Iterator[None]:
        """Within, whoever's connection is lost is asked whether it is still there, and given up
        if it is not. For peers that were sent something in this round.
        """

        ended = Event()
        watch = Thread(target=self._watch, args=(peers, until, ended), name=f"{self._name}-watch")
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()

    def fetch(self, peer: str, form: Form, patience: Patience) -> tuple[Header, Vector] | None:
        """What a peer has published; None, and an event, when it cannot be had."""
        try:
            return self._line(peer).fetch(self._hello(peer), form, patience)
        except (Unreachable, TurnedAway) as error:
            self._note("fetch_failed", f"no vector from {peer}: {error}", peer=peer)
            return None

    def leave(self, peers: Collection[str], patience: Patience) -> None:
        """Say goodbye; whoever does not hear it will find out."""
        for told in [self._pool.submit(self._leave, peer, patience) for peer in peers]:
            told.result()

    def close(self) -> None:
        """End all connections and wait for the threads."""
        with self._lock:
            lines = list(self._lines.values())
        for line in lines:
            line.close()
        self._pool.shutdown()

    def _line(self, peer: str) -> Line:
        with self._lock:
            if peer not in self._lines:
                self._lines[peer] = Line(
                    peer,
                    lambda: self._address(peer),
                    self._credentials,
                    self._figures.count,
                )
            return self._lines[peer]

    def _address(self, peer: str) -> str:
        entry = self._roster.peers().get(peer)
        if entry is None:
            raise Unreachable(f"{peer} is not listed")
        return entry.address

    def _send(self, peer: str, header: Header, pieces: Cut, until: float) -> str | None:
        try:
            receipt = self._line(peer).send(header, pieces, Patience(until))
        except (Unreachable, TurnedAway) as error:
            self._inbox.give_up(peer)
            if isinstance(error, TurnedAway):
                self._note("refused_by", str(error), peer=peer, round=header.round)
            return str(error)
        self._told(peer, receipt.round)
        if receipt.verdict == "late":  # it is done with this step and will send nothing more
            self._inbox.give_up(peer)
        return None

    def _ask(self, peer: str, round: int, patience: Patience) -> None:
        try:
            self._line(peer).reconnect()  # at once: gRPC's own pauses have grown meanwhile
            if isinstance(self._greet(peer, patience), str):
                self._neighbours.unanswered(peer, round)
        finally:
            with self._lock:
                self._asking.discard(peer)

    def _watch(self, peers: Collection[str], until: float, ended: Event) -> None:
        looks: dict[str, Future[bool]] = {}
        while True:
            for peer in peers:
                last = looks.get(peer)
                there = last is None or (last.done() and last.result())
                if there and self._line(peer).is_lost:
                    patience = Patience(until, ASK_TRIES)
                    looks[peer] = self._pool.submit(self._look_after, peer, patience)
            if ended.wait(WATCH_S):
                return

    def _look_after(self, peer: str, patience: Patience) -> bool:
        """Whether it is still there."""
        there = not isinstance(self._greet(peer, patience), str)
        if not there:
            self._inbox.give_up(peer)
        return there

    def _hello(self, peer: str) -> Hello:
        return Hello(
            run=self._roster.run,
            sender=self._name,
            session=self.session,
            round=self._neighbours.sends_from(peer),
            facts=self._facts,
        )

    def _greet(self, peer: str, patience: Patience) -> Greeting | str:
        hello = self._hello(peer)
        try:
            greeting = self._line(peer).greet(hello, patience)
            if greeting.session > hello.session:  # this machine's clock has gone back
                with self._lock:
                    self.session = max(self.session, greeting.session + 1)
                return self._greet(peer, patience)
        except (Unreachable, TurnedAway) as error:
            return str(error)
        self._neighbours.greeted(peer, None, greeting.round, greeting.facts)
        self._told(peer, greeting.round)
        return greeting

    def _told(self, peer: str, round: int) -> None:
        """It sends nothing here before that round."""
        self._neighbours.told(peer, round)
        self._inbox.skip(peer, round)

    def _leave(self, peer: str, patience: Patience) -> None:
        try:
            self._line(peer).leave(self._hello(peer), patience)
        except (Unreachable, TurnedAway):
            pass


def _until_hurried(
    asked: Mapping["Future[Greeting | str]", str],
    hurries: Callable[[Greeting], bool],
    has_left: Callable[[str], bool],
) -> Collection["Future[Greeting | str]"]:
    """Wait for all that have not left, or for some time after an answer that leaves no time. All
    are returned.
    """
    waiting, until = set(asked), math.inf
    while waiting and (left_s := until - time.monotonic()) > 0:
        done, waiting = wait(waiting, min(left_s, LOOK_S), FIRST_COMPLETED)
        waiting = {asking for asking in waiting if not has_left(asked[asking])}
        answers = [asking.result() for asking in done]
        if any(not isinstance(answer, str) and hurries(answer) for answer in answers):
            until = min(until, time.monotonic() + HURRY_S)
    return asked

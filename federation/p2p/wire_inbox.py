"""What neighbours have sent and the peer has not used yet: bounded, in order, each vector once."""

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from covey.federation.p2p.wire_header import Header, Vector
from covey.federation.p2p.wire_refusal import NotNow, Refused

AHEAD = 3
"""Rounds that a neighbour may be ahead; beyond them it is asked to wait."""
SLOTS = 4
"""Vectors of one neighbour that are kept: the bound of the memory that it can take."""
Place = tuple[int, int]
"""(round, step); they are gone through in this order."""
Verdict = Literal["new", "repeated", "late"]


class Arrived(NamedTuple):
    """A vector in the inbox."""

    kind: str
    vector: Vector


class Inbox:
    """Filled by the service's threads, emptied by the peer's."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._vectors: dict[tuple[str, Place], Arrived] = {}
        self._arriving: Counter[str] = Counter()
        self._newest: dict[str, tuple[int, Place, str]] = {}
        """For each sender the session, place and digest of the last vector taken."""
        self._given_up: set[str] = set()
        self._from: dict[str, tuple[int, Place]] = {}
        """For each sender the session, and the first place at which it may still send something."""
        self._open: Place = (0, 0)
        """The first place that the peer is not done with."""

    @property
    def place(self) -> Place:
        """What is older than this comes too late."""
        with self._changed:
            return self._open

    def session(self, sender: str) -> int:
        """The newest session in which a sender sent a vector; 0 when it sent none."""
        with self._changed:
            return self._newest.get(sender, (0, (0, 0), ""))[0]

    @contextmanager
    def arriving(self, header: Header) -> Iterator[Verdict]:
        """Keep a slot while a vector comes in, if it is new; then `put` it.

        A sender that has not heard our answer sends the same again: "repeated", which is no fault.
        Refused when it is older than what the sender sent last, NotNow when it is too early.
        """
        with self._changed:
            verdict = self._judge(header)
            self._arriving[header.sender] += verdict == "new"
        try:
            yield verdict
        finally:
            with self._changed:
                self._arriving[header.sender] -= verdict == "new"

    def put(self, header: Header, vector: Vector) -> Verdict:
        """Take a vector that has come in whole, unless the same came in meanwhile."""
        place = (header.round, header.step)
        with self._changed:
            verdict = self._judge(header, arrived=True)
            if verdict == "new":
                self._newest[header.sender] = (header.session, place, header.digest)
                self._vectors[header.sender, place] = Arrived(header.kind, vector)
                self._changed.notify_all()
        return verdict

    def _judge(self, header: Header, arrived: bool = False) -> Verdict:
        sender, place = header.sender, (header.round, header.step)
        session, newest, digest = self._newest.get(sender, (-1, (0, 0), ""))
        if (header.session, place, header.digest) == (session, newest, digest):
            return "repeated"
        if (header.session, place) <= (session, newest):
            text = (
                f"round {place[0]} step {place[1]} again, after round {newest[0]} step {newest[1]}"
            )
            raise Refused(
                "replayed", text + ("" if header.session == session else " of a new start")
            )
        self._skip(sender, header.session, place)  # it goes through them in order
        if place < self._open:
            return "late"
        if header.round > self._open[0] + AHEAD:
            raise NotNow(f"round {header.round} is too early, this is round {self._open[0]}")
        waiting = sum(1 for other, _ in self._vectors if other == sender)
        if not arrived and waiting + self._arriving[sender] >= SLOTS:
            raise NotNow(f"{SLOTS} messages are still waiting here")
        return "new"

    def begin(self, place: Place) -> None:
        """The peer is at this place now: what is older is dropped, and nobody is given up."""
        with self._changed:
            self._given_up.clear()
            self._move_to(place)

    def finish(self, place: Place) -> None:
        """The peer is done with this place."""
        with self._changed:
            self._move_to((place[0], place[1] + 1))

    def give_up(self, sender: str) -> None:
        """Wait no longer for that one, at this place."""
        with self._changed:
            self._given_up.add(sender)
            self._changed.notify_all()

    def skip(self, sender: str, round: int, session: int | None = None) -> None:
        """That one sends nothing before this round, in this session or the one known so far."""
        with self._changed:
            known = self._from.get(sender, (0, (0, 0)))[0]
            self._skip(sender, known if session is None else session, (round, 0))

    def miss(self, header: Header) -> None:
        """That vector was refused, and does not come again."""
        with self._changed:
            self._skip(header.sender, header.session, (header.round, header.step + 1))

    def _skip(self, sender: str, session: int, place: Place) -> None:
        self._from[sender] = max(self._from.get(sender, (0, (0, 0))), (session, place))
        self._changed.notify_all()

    def holds(self, sender: str) -> bool:
        """Whether something of that one has not been used yet."""
        with self._changed:
            return any(other == sender for other, _ in self._vectors)

    def is_past(self, sender: str, place: Place) -> bool:
        """Whether that one is at a later place, so that nothing more comes from it for this one."""
        with self._changed:
            return self._is_past(sender, place)

    def _is_past(self, sender: str, place: Place) -> bool:
        return sender in self._from and self._from[sender][1] > place

    def collect(self, senders: Collection[str], place: Place, until: float) -> dict[str, Arrived]:
        """The vectors of one place, once all are here that are still waited for.

        `until` is of `time.monotonic`; whoever has sent nothing by then is left out.
        """
        with self._changed:
            while any(
                (sender, place) not in self._vectors
                and sender not in self._given_up
                and not self._is_past(sender, place)
                for sender in senders
            ):
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    break
            found = {sender: self._vectors.pop((sender, place), None) for sender in senders}
        return {sender: arrived for sender, arrived in found.items() if arrived is not None}

    def _move_to(self, place: Place) -> None:
        self._open = max(self._open, place)
        for key in [key for key in self._vectors if key[1] < self._open]:
            del self._vectors[key]

"""A peer's view of its neighbours, fed by several threads; what changes in it is an event."""

import threading
from collections.abc import Collection
from dataclasses import replace

from covey.federation.p2p.peer_states import Neighbour, State
from covey.federation.p2p.wire_refusal import Note
from covey.federation.p2p.wire_talk import Facts


class Neighbours:
    """By name; one that nobody has heard of is taken for up.

    Two peers never wait for each other in vain: whoever hears from the other is answered with the
    first round in which it will be sent something, and in no round before that is it waited for.
    That holds because who comes back in the midst of a round takes part from the next one.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._now = self._next_round = 0
        self._lock = threading.Lock()
        self._known: dict[str, Neighbour] = {}
        self._sessions: dict[str, int] = {}

    def view(self) -> dict[str, Neighbour]:
        """Copies of all that are known."""
        with self._lock:
            return {name: replace(neighbour) for name, neighbour in self._known.items()}

    @property
    def next_round(self) -> int:
        """The first that this peer has not begun."""
        with self._lock:
            return self._next_round

    def begin_at(self, round: int) -> None:
        """This peer will begin with that round."""
        with self._lock:
            self._now = self._next_round = round

    def begin(self, round: int) -> None:
        """This peer begins a round: who is `taking_part` in it is settled from now on."""
        with self._lock:
            self._now, self._next_round = round, round + 1

    def taking_part(self, names: Collection[str], round: int) -> list[str]:
        """Those of the names to send to, or to wait for, in this round."""
        with self._lock:
            return [name for name in names if self._get(name).takes_part(round)]

    def due(self, names: Collection[str], round: int) -> list[str]:
        """Those that are down and are to be asked in this round whether they are back."""
        with self._lock:
            return [name for name in names if self._get(name).is_due(round)]

    def failed(self, name: str, round: int, why: str) -> None:
        """The exchange of this round with it brought nothing."""
        with self._lock:
            is_down = self._get(name).failed(round)
            again = self._get(name).ask_round
        if is_down:
            message = f"{name} is down in round {round}: {why}"
            self._note("peer_down", message, peer=name, round=round, ask_round=again)

    def unanswered(self, name: str, round: int) -> None:
        """It was asked in this round whether it is back, and did not answer."""
        with self._lock:
            self._get(name).unanswered(round)

    def sent(self, name: str, round: int) -> None:
        """A vector has come from it."""
        with self._lock:
            back = self._get(name).sent(self._next_round)
            self._heard(name, round)
        if back:
            self._note("peer_up", f"{name} is back in round {round}", peer=name, round=round)

    def took(self, name: str) -> None:
        """It has taken a vector, and none is expected from it."""
        with self._lock:
            self._get(name).failures = 0

    def told(self, name: str, round: int) -> None:
        """It has told that it sends nothing to this peer before that round."""
        with self._lock:
            self._get(name).told(round)
            self._heard(name, round)

    def sends_from(self, name: str) -> int:
        """The first round in which this peer sends to it, or may still."""
        with self._lock:
            neighbour = self._known.get(name, Neighbour())
            if neighbour.takes_part(self._now):
                return self._now
            return max(neighbour.from_round, self._next_round)

    def session(self, name: str) -> int:
        """The newest in which it said hello; 0 if it never did."""
        with self._lock:
            return self._sessions.get(name, 0)

    def greeted(self, name: str, session: int | None, round: int, facts: Facts) -> int:
        """It said hello in this session, or answered ours (None); before that round it sends
        nothing. Returns the first in which both take part.
        """
        with self._lock:
            is_new, known = name not in self._known, self._sessions.get(name, 0)
            # Whoever says hello for the first time may be waited for since the beginning.
            restarted = session is not None and session > known > 0
            self._sessions[name] = max(known, session or 0)
            news = self._get(name).greeted(round, self._next_round, restarted)
            self._get(name).facts = facts
            from_round = self._get(name).from_round
            self._heard(name, round)
        if news or is_new:
            message = f"{name} is here, at round {round}"
            self._note("peer_up", message, peer=name, round=round, facts=facts)
        return from_round

    def has_left(self, name: str) -> bool:
        """Whether it said goodbye, and no hello since."""
        with self._lock:
            return name in self._known and self._known[name].state is State.LEFT

    def left(self, name: str, round: int) -> None:
        """It said goodbye."""
        with self._lock:
            self._get(name).left()
        self._note("peer_left", f"{name} has left in round {round}", peer=name, round=round)

    def _get(self, name: str) -> Neighbour:
        return self._known.setdefault(name, Neighbour())

    def _heard(self, name: str, round: int) -> None:
        neighbour = self._get(name)
        neighbour.round = max(neighbour.round, round)

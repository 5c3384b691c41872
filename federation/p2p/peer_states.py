"""Which neighbours take part, judged by the exchanges alone: nobody sends heartbeats.

Pure: rounds go in, answers come out. `wire_exchange.py` feeds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_GAP = 8
"""Rounds after which a neighbour that is down is asked again, at the latest."""


class State(StrEnum):
    """Of a neighbour, as its peer sees it."""

    UP = "up"
    DOWN = "down"
    """Its vector did not come, or it could not be reached; it is asked with growing gaps."""
    LEFT = "left"
    """It said goodbye; it is not asked, and comes back when it says hello."""


@dataclass
class Neighbour:
    """One neighbour's state; it is up until an exchange with it fails."""

    state: State = State.UP
    failures: int = 0
    """Exchanges that failed since one with it last worked."""
    ask_round: int = 0
    """When down: the first round in which it is asked again."""
    from_round: int = 0
    """The first round in which it takes part, as both sides know."""
    round: int = 0
    """The latest that it was heard to be at."""
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    """What it told of itself when it said hello, or answered ours."""

    def takes_part(self, round: int) -> bool:
        """Whether to send to it, and to wait for it, in this round."""
        return self.state is State.UP and round >= self.from_round

    def is_due(self, round: int) -> bool:
        """Whether a neighbour that is down is to be asked in this round whether it is back."""
        return self.state is State.DOWN and round >= self.ask_round

    def failed(self, round: int) -> bool:
        """The exchange of a round with it brought nothing. True when it is down for that.

        It is not when it has left meanwhile, or started anew and takes part from a later round on.
        """
        if not self.takes_part(round):
            return False
        self.state = State.DOWN
        self._ask_later(round)
        return True

    def unanswered(self, round: int) -> None:
        """The question whether it is back brought nothing; it may have come back meanwhile."""
        if self.state is State.DOWN:
            self._ask_later(round)

    def sent(self, ours: int) -> bool:
        """A vector came from it: it takes part, from our next round if it did not before. True when
        it was not up before.
        """
        was_up = self.state is State.UP
        self.state, self.failures = State.UP, 0
        if not was_up:
            self.from_round = ours
        return not was_up

    def greeted(self, theirs: int, ours: int, restarted: bool) -> bool:
        """It said hello or answered ours. True when it was not up before, or has started anew.

        Both sides then begin with the first round that neither has begun: `theirs` and `ours` are
        those that each has not.
        """
        news = self.state is not State.UP or restarted
        if news:
            self.state, self.from_round = State.UP, ours
        self.told(theirs)
        return news

    def told(self, round: int) -> None:
        """It sends nothing before this round."""
        self.from_round = max(self.from_round, round)

    def left(self) -> None:
        """It said goodbye."""
        self.state = State.LEFT

    def _ask_later(self, round: int) -> None:
        self.ask_round = round + min(2**self.failures, MAX_GAP)
        self.failures = min(self.failures + 1, 30)

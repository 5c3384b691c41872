"""A peer that is behind its neighbours takes the weights of one of them."""

import time
from collections.abc import Callable, Sequence

from covey.federation.p2p.peer_states import State
from covey.federation.p2p.wire_exchange import Exchange
from covey.federation.p2p.wire_header import Vector
from covey.federation.p2p.wire_inbox import AHEAD

FETCH_AGAIN_S, FETCH_S = 0.2, 10.0
Agreed = Callable[[Sequence[int]], int]
"""Where to go on, of the rounds that neighbours tell of."""


def reached_by_most(rounds: Sequence[int]) -> int:
    """The round at which, or after which, most are: a few that lie do not change it."""
    return sorted(rounds)[(len(rounds) - 1) // 2]


def fetch_from(
    exchange: Exchange, names: Sequence[str], patience_s: float
) -> tuple[str, Vector] | None:
    """The first of the named that has a vector, and this; None if nobody has in time."""
    until = time.monotonic() + patience_s
    while True:
        for name in names:
            if fetched := exchange.fetch(name, FETCH_S):
                return name, fetched[1]
        if time.monotonic() > until:
            return None
        time.sleep(FETCH_AGAIN_S)  # they may be about to agree on the first one


def far_ahead(exchange: Exchange, round_: int, agreed: Agreed) -> tuple[int, list[str]] | None:
    """The round from which neighbours take part if it is much later than this, and who does: parts
    of a graph that heard nothing of each other have gone on, each at its own pace.
    """
    there = exchange.neighbours().items()
    rounds = {name: one.from_round for name, one in there if one.state is State.UP}
    if not rounds or (later := agreed(list(rounds.values()))) <= round_ + AHEAD:
        return None
    return later, [name for name in rounds if rounds[name] >= later]

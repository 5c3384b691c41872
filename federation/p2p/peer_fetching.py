"""A peer that is behind its neighbours takes the weights of one of them."""

import time
from collections.abc import Sequence

from covey.federation.p2p.peer_states import State
from covey.federation.p2p.wire_exchange import Exchange
from covey.federation.p2p.wire_header import Vector
from covey.federation.p2p.wire_inbox import AHEAD

FETCH_AGAIN_S, FETCH_S = 0.2, 10.0


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


def far_ahead(exchange: Exchange, round_: int) -> tuple[int, str] | None:
    """The neighbour that takes part only from a much later round than this, and that round: parts
    of a graph that heard nothing of each other have gone on, each at its own pace.
    """
    there = exchange.neighbours().items()
    later = [(one.from_round, name) for name, one in there if one.state is State.UP]
    found = max(later, default=None)
    return found if found is not None and found[0] > round_ + AHEAD else None

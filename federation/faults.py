"""Simulated dropouts and stragglers: what goes wrong with a client, drawn anew for each message.

Nobody sleeps: a delay is simulated time. A client that is lost is not run at all, so its
`Context.state` stays as it was.
"""

import math
from dataclasses import dataclass

import numpy as np

from covey.federation.rounds_section import FaultsSection, StragglersSection
from covey.platform.seeds import derive


@dataclass(frozen=True)
class Fault:
    """Simulated seconds until the server knows how it went, and why no reply comes (None: one
    does).
    """

    delay_s: float = 0.0
    lost: str | None = None


NO_FAULT = Fault()


class Faults:
    """The faults of a job. They depend on its seed, the node and the occasion, and on nothing else:
    the same on every engine, in any order, and after a resume.
    """

    def __init__(self, section: FaultsSection | None, seed: int, limit_s: float | None) -> None:
        self.active = section is not None
        self._section = section or FaultsSection()
        self._seed = seed
        self._limit_s = limit_s

    def of(self, node: int, *occasion: int) -> Fault:
        """What happens to a node's message. `occasion` tells its messages apart: (round, attempt),
        or (round, number of the start) when clients train asynchronously.
        """
        if not self.active:
            return NO_FAULT
        chance = np.random.default_rng(derive(self._seed, "faults", *occasion, node)).random(3)
        if chance[0] < self._section.dropout:
            # Nobody tells the server: it finds out at its limit. Without one, at once.
            return Fault(self._limit_s or 0.0, "simulated dropout: the client never answers")
        stragglers = self._section.stragglers
        if stragglers is None or chance[1] >= stragglers.fraction:
            return NO_FAULT
        delay_s = _delay_s(stragglers, float(chance[2]))
        if self._limit_s is not None and delay_s > self._limit_s:
            took = f"{delay_s:.6g} simulated seconds, the limit is {self._limit_s:g}"
            return Fault(self._limit_s, f"simulated straggler: it takes {took}")
        return Fault(delay_s)


def _delay_s(stragglers: StragglersSection, chance: float) -> float:
    """The delay at a quantile `chance` in [0, 1) of its distribution."""
    mean = stragglers.delay_s
    if stragglers.distribution == "exponential":
        return -mean * math.log1p(-chance)
    return 2 * mean * chance if stragglers.distribution == "uniform" else mean

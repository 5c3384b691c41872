"""How long an iteration of coded workers takes, by a discrete-event model.

Workers take their turns at the cores as in the pool; stragglers then sit on their results, and the
iteration ends with the first set of results that can be decoded. With a core for each worker this
is the model that explains the published table (T(0) plus the delay times the chance of waiting).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from covey.platform.coding.code import HEAVY_NICENESS, Code
from covey.platform.coding.turns import Turns

STEP = 1.25
"""Linux gives so many times as much of a core to who is nicer by one less."""


@dataclass(frozen=True)
class Costs:
    """Seconds of one task, and of what comes before and after all of them. `cores` None: one for
    each worker.
    """

    task_s: float
    fixed_s: float = 0.0
    cores: int | None = None


def iteration_s(code: Code, costs: Costs, delays_s: Sequence[float]) -> float:
    """Of one iteration in which worker j sits on its result for `delays_s[j]`; infinite if all
    results together cannot be decoded.
    """
    cores = costs.cores or code.workers
    turns, computing = Turns(code, cores, costs.task_s), Computing(cores)
    arrivals: dict[int, float] = {}
    received: list[int] = []
    now_s, begin = 0.0, turns.begin(0.0)
    while True:
        for worker in begin:
            load = len(code.tasks_of(worker)) * costs.task_s
            computing.add(worker, load, STEP**-HEAVY_NICENESS if worker in code.heavy else 1.0)
        first_s = min(arrivals.values(), default=inf)
        until_s = min(now_s + computing.next_s(), first_s, turns.next_s(now_s))
        if until_s == inf:
            return inf
        for worker in computing.advance(until_s - now_s):
            arrivals[worker] = until_s + delays_s[worker]
        now_s = until_s
        for worker in [one for one, arrival_s in arrivals.items() if arrival_s <= now_s]:
            del arrivals[worker]
            turns.answered(worker)
            received.append(worker)
            if code.decodable(received):
                return costs.fixed_s + now_s
        begin = turns.due(now_s)


class Computing:
    """Workers that share some cores by their weights, no more than a core each."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._left: dict[int, float] = {}
        self._loads: dict[int, float] = {}
        self._weights: dict[int, float] = {}

    def add(self, worker: int, load_s: float, weight: float = 1.0) -> None:
        """It begins with so many seconds of a core to do."""
        self._left[worker] = self._loads[worker] = load_s
        self._weights[worker] = weight

    def next_s(self) -> float:
        """In how many seconds the first will be done."""
        rates = shares(self._weights, self._cores)
        return min((left / rates[worker] for worker, left in self._left.items()), default=inf)

    def advance(self, seconds: float) -> list[int]:
        """Let time pass. Returns those who are done, in the order of their numbers."""
        rates = shares(self._weights, self._cores)
        for worker, rate in rates.items():
            self._left[worker] -= rate * seconds
        done = sorted(one for one, left in self._left.items() if left <= 1e-12 * self._loads[one])
        for worker in done:
            del self._left[worker], self._loads[worker], self._weights[worker]
        return done


def shares(weights: Mapping[int, float], cores: float) -> dict[int, float]:
    """How much of a core each gets."""
    found: dict[int, float] = {}
    total = sum(weights.values())
    for which in sorted(weights, key=lambda one: -weights[one]):
        found[which] = min(1.0, cores * weights[which] / total)
        cores, total = cores - found[which], total - weights[which]
    return found

"""How long an iteration of coded workers takes, by a discrete-event model.

Workers share the cores while they compute, by their niceness; stragglers then sit on their results,
and the iteration ends with the first set of results that can be decoded. With a core for each
worker this is the model that explains the published table (T(0) plus the delay times the chance of
waiting).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from covey.platform.coding.code import Code

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
    loads = [len(code.tasks_of(worker)) * costs.task_s for worker in range(code.workers)]
    weights = [STEP**-nice for nice in code.niceness]
    computed = finish_times(loads, costs.cores or code.workers, weights)
    arrivals = sorted(
        (done_s + delay_s, worker)
        for worker, (done_s, delay_s) in enumerate(zip(computed, delays_s, strict=True))
    )
    received: list[int] = []
    for arrival_s, worker in arrivals:
        received.append(worker)
        if code.decodable(received):
            return costs.fixed_s + arrival_s
    return float("inf")


def finish_times(loads: Sequence[float], cores: int, weights: Sequence[float]) -> list[float]:
    """When each of some loads (seconds on a core of its own) is done, if they all begin at once and
    share the cores by their weights, no more than a core each.
    """
    left = list(loads)
    finished = [0.0] * len(loads)
    active = {which for which, load in enumerate(loads) if load > 0}
    now_s = 0.0
    while active:
        rates = shares({which: weights[which] for which in active}, cores)
        step_s = min(left[which] / rate for which, rate in rates.items())
        now_s += step_s
        for which, rate in rates.items():
            left[which] -= rate * step_s
            if left[which] <= 1e-12 * loads[which]:
                finished[which] = now_s
                active.remove(which)
    return finished


def shares(weights: Mapping[int, float], cores: float) -> dict[int, float]:
    """How much of a core each gets."""
    found: dict[int, float] = {}
    total = sum(weights.values())
    for which in sorted(weights, key=lambda one: -weights[one]):
        found[which] = min(1.0, cores * weights[which] / total)
        cores, total = cores - found[which], total - weights[which]
    return found

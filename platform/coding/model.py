"""How long an iteration of coded workers takes, by a discrete-event model.

Workers share the cores evenly while they compute, stragglers then sit on their results, and the
iteration ends with the first set of results that can be decoded. With a core for each worker this
is the model that explains the published table (T(0) plus the delay times the chance of waiting).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from covey.platform.coding.code import Code


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
    computed = finish_times(loads, costs.cores or code.workers)
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


def finish_times(loads: Sequence[float], cores: int) -> list[float]:
    """When each of some loads (seconds on a core of its own) is done, if they all begin at once and
    share the cores evenly, no more than a core each.
    """
    order = sorted(range(len(loads)), key=lambda which: loads[which])
    finished = [0.0] * len(loads)
    now_s, done = 0.0, 0.0  # of each load that is still there
    for place, which in enumerate(order):
        rate = min(1.0, cores / (len(order) - place))
        now_s += (loads[which] - done) / rate
        done = loads[which]
        finished[which] = now_s
    return finished

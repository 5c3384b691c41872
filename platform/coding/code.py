"""What a code is: an assignment matrix, when results are enough, and how to decode them."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.plan import MAX_ERROR, Plan, combine, error_bound
from covey.platform.coding.product import Extended, Floats, in_parts, product

KEPT_PLANS = 4096
HEAVY_NICENESS = 5
"""Of workers that are there for stragglers; see `Code.heavy`."""


class CodeError(ValueError):
    """A code that cannot be made: says what would work."""


class NotDecodable(ValueError):
    """The results at hand do not determine what is asked for, or not accurately enough."""


@dataclass(frozen=True)
class Decoded:
    """What was decoded [M, ...] (sum codes: [...]), from how many results, and how far off it may
    be: see `Plan.bound`.
    """

    values: Floats
    results_used: int
    error_bound: float


class Code(ABC):
    """N workers, M tasks: worker j sends the sum over i of `matrix[j, i]` times task i's result.

    `matrix` is float64 [N, M]. `tolerance` stragglers may be missing, whichever they are.
    """

    sums = False
    """Whether the sum of all tasks' results is decoded rather than each of them."""
    approximate = False
    """Whether what is decoded may differ from it by more than rounding."""

    def __init__(self, name: str, matrix: Floats, *, max_error: float = MAX_ERROR) -> None:
        self.name = name
        self.matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        self.matrix.setflags(write=False)
        self.workers, self.tasks = int(matrix.shape[0]), int(matrix.shape[1])
        self.max_error = max_error
        self._plans: OrderedDict[frozenset[int], Plan | None] = OrderedDict()

    @property
    @abstractmethod
    def tolerance(self) -> int:
        """How many stragglers it can do without, whichever they are."""

    def tolerates(self, stragglers: int) -> bool:
        """Whether so many can be done without: quicker than `tolerance` where that is found out."""
        return self.tolerance >= stragglers

    def tasks_of(self, worker: int) -> tuple[int, ...]:
        """The tasks whose results a worker needs."""
        return tuple(np.flatnonzero(self.matrix[worker]).tolist())

    @cached_property
    def heavy(self) -> frozenset[int]:
        """The workers with at least twice the tasks of others: they are there for stragglers, and
        stand back where there are fewer cores than workers.
        """
        loads = [len(self.tasks_of(worker)) for worker in range(self.workers)]
        return frozenset(worker for worker, load in enumerate(loads) if load >= 2 * min(loads))

    def encode(self, worker: int, results: Mapping[int, NDArray[Any]]) -> Floats:
        """What a worker sends, of the results of its tasks: all of one shape. Rounded once to
        float64; a result that nothing is added to, with factor 1, is copied.
        """
        tasks = self.tasks_of(worker)
        if len(tasks) == 1:
            only: Floats = self.matrix[worker, tasks[0]] * np.asarray(results[tasks[0]], np.float64)
            return only
        factors = self.matrix[[worker]][:, tasks].astype(np.longdouble)
        rows = [np.ravel(results[task]) for task in tasks]
        mixture = np.empty(len(rows[0]))
        for part, block in in_parts(rows):
            mixture[part] = product(factors, block)[0]
        return mixture.reshape(np.shape(results[tasks[0]]))

    def decodable(self, received: Sequence[int]) -> bool:
        """Whether the results of these workers are enough, and decode accurately."""
        return self.plan(received) is not None

    def decode(self, results: Mapping[int, NDArray[Any]]) -> Floats:
        """The results of all tasks [M, ...] (sum codes: their sum [...]) from what some workers
        sent.

        NotDecodable if they are not enough; ValueError if their shapes differ.
        """
        return self.decode_with_bound(results).values

    def decode_with_bound(self, results: Mapping[int, NDArray[Any]]) -> Decoded:
        """As `decode`, with a bound of the error."""
        plan = self.plan(list(results))
        if plan is None:
            raise NotDecodable(
                f"{self.name}: the results of workers {sorted(results)} are not enough for"
                f" {self.tasks} tasks"
            )
        shapes = {np.shape(result) for result in results.values()}
        if len(shapes) != 1:
            raise ValueError(f"results of different shapes: {sorted(shapes)}")
        (shape,) = shapes
        values = combine(plan, [np.ravel(results[worker]) for worker in plan.used])
        lead = () if self.sums else (self.tasks,)
        return Decoded(values.reshape(lead + shape), len(plan.used), plan.bound)

    def plan(self, received: Iterable[int]) -> Plan | None:
        """How to decode the results of these workers; None if they are not enough."""
        key = frozenset(received)
        strangers = [worker for worker in key if not 0 <= worker < self.workers]
        if strangers:
            raise ValueError(
                f"{self.name} has workers 0 to {self.workers - 1}, none numbered {strangers[0]}"
            )
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        plan = self._best_plan(tuple(sorted(key))) if key else None
        if plan is not None and not (plan.bound <= self.max_error or self.approximate):
            plan = None
        self._plans[key] = plan
        if len(self._plans) > KEPT_PLANS:
            self._plans.popitem(last=False)
        return plan

    def _best_plan(self, received: tuple[int, ...]) -> Plan | None:
        """One with care only where that is of use."""
        plan = self.make_plan(received, careful=False)
        if plan is not None and plan.bound > min(self.max_error, MAX_ERROR):
            better = self.make_plan(received, careful=True)
            if better is not None and better.bound <= self.max_error:
                return better
        return plan

    def make_plan(self, received: tuple[int, ...], *, careful: bool) -> Plan | None:
        """A plan, however accurate; None if the results do not determine what is asked for."""
        weights = self._weights(received, careful)
        if weights is None:
            return None
        places = np.flatnonzero(weights.any(axis=0))
        used = tuple(received[place] for place in places)
        wanted = np.ones((1, self.tasks)) if self.sums else np.eye(self.tasks)
        bound = error_bound(weights[:, places], self.matrix[list(used)], wanted, careful=careful)
        return Plan(used, weights[:, places], careful, bound)

    @abstractmethod
    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        """Of the results of these workers [M, R] (sum codes: [1, R]), with care as exact as they
        can be; None if they do not determine what is asked for.
        """

"""What a code is: an assignment matrix, when results are enough, and how to decode them."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNIT_ROUNDOFF = float(np.finfo(np.float64).eps) / 2
MAX_ERROR = 2e-10
"""Decodes that may be further off than this, relative to the largest result, wait for more. The
bound is for roundings that all add up: what is measured with numbers as results have them stays
under 1e-11 (tests/benchmarks/code_errors.py).
"""
KEPT_PLANS = 4096
HEAVY_NICENESS = 5
"""Of workers that are there for stragglers; see `Code.heavy`."""


class CodeError(ValueError):
    """A code that cannot be made: says what would work."""


class NotDecodable(ValueError):
    """The results at hand do not determine what is asked for, or not accurately enough."""


@dataclass(frozen=True)
class Plan:
    """How to decode one set of results: `weights @ [result of each worker in used]`.

    `used` [R] are worker numbers, `weights` [M, R] (sum codes: [1, R]). `bound` is at least the
    largest error of a decoded number, relative to the largest number of any task's result.
    """

    used: tuple[int, ...]
    weights: Floats
    bound: float


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
        """What a worker sends, of the results of its tasks: all of one shape, summed in float64 in
        the order of the tasks.
        """
        tasks = self.tasks_of(worker)
        total: Floats = self.matrix[worker, tasks[0]] * np.asarray(
            results[tasks[0]], dtype=np.float64
        )
        for task in tasks[1:]:
            total += self.matrix[worker, task] * np.asarray(results[task], dtype=np.float64)
        return total

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
        values = combine(plan.weights, [np.ravel(results[worker]) for worker in plan.used])
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
        plan = self._make_plan(tuple(sorted(key))) if key else None
        if plan is not None and not (plan.bound <= self.max_error or self.approximate):
            plan = None
        self._plans[key] = plan
        if len(self._plans) > KEPT_PLANS:
            self._plans.popitem(last=False)
        return plan

    @abstractmethod
    def _make_plan(self, received: tuple[int, ...]) -> Plan | None:
        """A plan, however accurate; None if the results do not determine what is asked for."""


def combine(weights: Floats, rows: Sequence[NDArray[Any]]) -> Floats:
    """`weights @ rows` [K, P] in float64; what is a plain copy of a row is copied."""
    made = np.empty((len(weights), len(rows[0])))
    copies = copied_rows(weights)
    mixed = copies < 0
    for target, source in enumerate(copies.tolist()):
        if source >= 0:
            made[target] = rows[source]
    if mixed.any():
        needed = np.flatnonzero(weights[mixed].any(axis=0))
        block = np.empty((len(needed), made.shape[1]))
        for place, source in enumerate(needed.tolist()):
            block[place] = rows[source]
        made[mixed] = weights[np.ix_(mixed, needed)] @ block
    return made


def copied_rows(weights: Floats) -> NDArray[np.intp]:
    """For each row of weights the number of the one result that it copies, or -1."""
    single = (np.count_nonzero(weights, axis=1) == 1) & (weights.sum(axis=1) == 1.0)
    return np.where(single, weights.argmax(axis=1), -1)


def error_bound(weights: Floats, rows: Floats, wanted: Floats) -> float:
    """How far `weights @ (rows @ x)` may be from `wanted @ x`, for any x of largest number 1.

    The rounding of encoding (sums of as many terms as a row has) and of decoding, Higham's
    gamma_n = n u / (1 - n u) each, and how far the weights themselves are off.
    """
    terms = int(np.count_nonzero(rows, axis=1).max()) + int(np.count_nonzero(weights, axis=1).max())
    copies = np.count_nonzero(rows, axis=1).max() == 1 and (copied_rows(weights) >= 0).all()
    gamma = 0.0 if copies else terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF)
    rounding = gamma * (abs(weights) @ abs(rows)).sum(axis=1).max()
    off = abs(weights @ rows - wanted).sum(axis=1).max()
    return float(rounding + off)

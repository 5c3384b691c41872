"""Codes for sums of gradients: each worker sends one combination of its tasks' results, and any
sufficient subset gives the sum over all tasks (Tandon et al. 2017).
"""

from dataclasses import replace

import numpy as np
from numpy.random import PCG64, Generator

from covey.platform.coding.code import Code, CodeError
from covey.platform.coding.draws import of_summing
from covey.platform.coding.plan import MAX_ERROR, Plan
from covey.platform.coding.product import Extended, Floats, left_over
from covey.platform.coding.tolerance import all_decode
from covey.platform.seeds import derive

CYCLIC_ERROR = 4e-8
"""As `MAX_ERROR`. Cyclic codes amplify rounding more, the more workers there are: what is measured
is within 1e-11 up to 16 of them, and within 1e-9 at 64 (tests/benchmarks/code_errors.py).
"""
CYCLIC_DRAWS, CYCLIC_TRIALS = 200, 8
"""So many matrices are drawn; of so many, those with the smallest numbers, the best is taken."""


class SumCode(Code):
    """Finds weights of the received rows that add up to one for every task."""

    sums = True

    def __init__(
        self, name: str, matrix: Floats, stragglers: int, *, max_error: float = MAX_ERROR
    ) -> None:
        super().__init__(name, matrix, max_error=max_error)
        self._stragglers = stragglers

    @property
    def tolerance(self) -> int:
        return self._stragglers

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        """Least squares; with care, twice again for what is left over."""
        rows, ones = self.matrix[list(received)], np.ones((1, self.tasks))
        weights = np.zeros((1, len(received)), np.longdouble)
        for _ in range(3 if careful else 1):
            left = left_over(weights, rows, ones)
            weights += np.linalg.lstsq(rows.T, left[0], rcond=None)[0]
        return weights


class FractionalRepetition(SumCode):
    """s + 1 groups of workers; each parts all tasks among its own. Decoding picks one copy of each
    part.
    """

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        weights = np.zeros((1, len(received)), np.longdouble)
        covered = np.zeros(self.tasks, dtype=bool)
        for place, worker in enumerate(received):
            own = self.matrix[worker] != 0
            if not covered[own].any():
                weights[0, place], covered = 1.0, covered | own
        return weights if covered.all() else None

    def make_plan(self, received: tuple[int, ...], *, careful: bool) -> Plan | None:
        """Copies in the order of their parts: the sum is the same to the bit, whoever answers."""
        plan = super().make_plan(received, careful=careful)
        if plan is None:
            return None
        return replace(plan, used=tuple(sorted(plan.used, key=self.tasks_of)))


class Stochastic(SumCode):
    """Sums what arrives, once N - s have (Bitar et al. 2020). Unbiased if each worker straggles
    with probability p, whatever the others do: a task's results are divided by its copies times
    1 - p.
    """

    approximate = True

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        enough = len(received) >= self.workers - self.tolerance
        return np.ones((1, len(received)), np.longdouble) if enough else None


class Approximate(SumCode):
    """Least squares over what arrives, once N - s have: the nearest to the sum that there is. How
    far off it may be is part of `Plan.bound`.
    """

    approximate = True

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        enough = len(received) >= self.workers - self.tolerance
        return super()._weights(received, careful) if enough else None


def fractional_repetition(workers: int, tasks: int, stragglers: int) -> SumCode:
    """(s + 1) must divide N, and N / (s + 1) must divide M."""
    copies = stragglers + 1
    parts = workers // copies
    if not parts or workers % copies or tasks % parts:
        possible = ", ".join(map(str, divisions(workers, tasks)))
        raise CodeError(
            f"fractional-repetition: {workers} workers and {tasks} tasks cannot be parted for"
            f" {stragglers} stragglers; possible are {possible}; cyclic takes any"
        )
    matrix = np.kron(np.eye(parts), np.ones((1, tasks // parts)))
    return FractionalRepetition("fractional-repetition", np.tile(matrix, (copies, 1)), stragglers)


def divisions(workers: int, tasks: int) -> list[int]:
    """For how many stragglers fractional repetition is to be had."""
    return [s for s in range(workers) if not workers % (s + 1) and not tasks % (workers // (s + 1))]


def cyclic(workers: int, tasks: int, stragglers: int, seed: int) -> SumCode:
    """Worker i has tasks i to i + s, around the circle (Tandon et al. 2017, algorithm 2)."""
    if workers != tasks:
        raise CodeError(
            f"cyclic: as many tasks as workers are wanted, not {tasks} for {workers};"
            f" tasks={workers} or workers={tasks}"
        )
    generator = Generator(PCG64(derive(seed, "cyclic", workers, stragglers)))
    drawn = [cyclic_matrix(generator, workers, stragglers) for _ in range(CYCLIC_DRAWS)]
    drawn.sort(key=lambda one: float(abs(one).max()))
    codes = [
        SumCode("cyclic", matrix, stragglers, max_error=CYCLIC_ERROR)
        for matrix in drawn[:CYCLIC_TRIALS]
    ]
    code = min(codes, key=of_summing)
    if not all_decode(code, stragglers, drawn=True):
        raise CodeError(
            f"cyclic: with {workers} workers and {stragglers} stragglers rounding would show;"
            " possible are fewer workers or stragglers, or fractional-repetition, for"
            f" {', '.join(map(str, divisions(workers, tasks)))} stragglers, which amplifies none"
        )
    return code


def stochastic(workers: int, tasks: int, stragglers: int, seed: int, copies: int = 2) -> SumCode:
    """Every task on `copies` workers, pairs of tasks together as seldom as can be; reckons with
    p = s / N.
    """
    held = spread(workers, tasks, copies, Generator(PCG64(derive(seed, "stochastic", workers))))
    return Stochastic("stochastic", held / (copies * (1 - stragglers / workers)), stragglers)


def approximate(workers: int, tasks: int, stragglers: int, seed: int, copies: int = 2) -> SumCode:
    """Every task on `copies` workers, drawn; decoded by least squares."""
    held = spread(workers, tasks, copies, Generator(PCG64(derive(seed, "approximate", workers))))
    return Approximate("approximate", held, stragglers)


def spread(workers: int, tasks: int, copies: int, generator: Generator) -> Floats:
    """0 and 1 [N, M]: `copies` workers a task, and as many tasks on every worker, give or take one:
    a task goes to those who have fewest, those it meets fewest others with first.
    """
    if isinstance(copies, bool) or not isinstance(copies, int) or not 1 <= copies <= workers:
        raise CodeError(f"copies is a whole number from 1 to {workers}, not {copies!r}")
    held = np.zeros((workers, tasks))
    for task in range(tasks):
        for _ in range(copies):
            free = np.flatnonzero(held[:, task] == 0)
            mates = held[:, held[held[:, task] > 0].any(axis=0)].sum(axis=1)
            order = np.lexsort((generator.random(len(free)), mates[free], held[free].sum(axis=1)))
            held[free[order[0]], task] = 1.0
    return held


def cyclic_matrix(generator: Generator, workers: int, stragglers: int) -> Floats:
    """Rows in the kernel of a random matrix with orthonormal rows that add up to zero each, so that
    it holds the vector of ones; each row is zero but for s + 1 neighbours.
    """
    matrix = np.eye(workers)
    if stragglers:
        checks = generator.standard_normal((workers, stragglers))
        checks = np.linalg.qr(checks - checks.mean(axis=0))[0].T
        support = (np.arange(workers)[:, None] + np.arange(1, stragglers + 1)) % workers
        own = checks[:, support].transpose(1, 0, 2)  # [N, s, s]
        found = np.linalg.solve(own, -checks.T[:, :, None])[:, :, 0]
        np.put_along_axis(matrix, support, found, axis=1)
    return matrix

"""Regular array LDPC codes (Fan 2000) used with real numbers, decoded by peeling.

The parity matrix over GF(2) is made of `gamma` times `rho` blocks: block (a, b) is the p x p cyclic
shift to the power a * b. Its kernel is the code; a systematic basis of it, as numbers 0 and 1, is
the assignment matrix (Wang et al. 2021, section III-D).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from covey.platform.coding.code import CodeError
from covey.platform.coding.product import Extended, Floats
from covey.platform.coding.task_codes import TaskCode

Bits = NDArray[np.bool_]

SEARCHED = 64
"""Up to so many workers other shapes are looked for."""
NAMED = 5
"""So many of them are told."""


@dataclass(frozen=True)
class Shape:
    """p: size of a block; rho: blocks in a row; gamma: blocks in a column."""

    p: int
    rho: int
    gamma: int

    @property
    def workers(self) -> int:
        return self.p * self.rho

    def parity(self) -> Bits:
        """The parity matrix [gamma p, rho p]."""
        identity = np.eye(self.p, dtype=bool)
        blocks = [
            [np.roll(identity, a * b, axis=1) for b in range(self.rho)] for a in range(self.gamma)
        ]
        return np.block(blocks)


@cache
def shapes(workers: int) -> tuple[tuple[Shape, int], ...]:
    """All shapes for so many workers and the number of tasks of each; those with the most checks a
    column first.
    """
    found = [
        Shape(p, workers // p, gamma)
        for p in range(2, workers // 2 + 1)
        if workers % p == 0
        for gamma in range(p, 1, -1)
    ]
    found.sort(key=lambda one: -one.gamma)
    counted = ((shape, workers - len(reduced(shape.parity())[1])) for shape in found)
    return tuple((shape, tasks) for shape, tasks in counted if tasks > 0)


def workers_for(tasks: int) -> list[int]:
    """With how many workers there is a shape for so many tasks: up to four times as many, or
    twenty, and no more than `SEARCHED`.
    """
    most = min(max(20, 4 * tasks), SEARCHED)
    return [
        workers
        for workers in range(tasks + 1, most + 1)
        if any(number == tasks for _, number in shapes(workers))
    ]


def ldpc(
    workers: int, tasks: int, p: int | None = None, rho: int | None = None, gamma: int | None = None
) -> "LdpcCode":
    """Of the shapes for so many workers and tasks the one with the most checks a column, unless
    `p`, `rho` or `gamma` say otherwise. CodeError if there is none.
    """
    fitting = [shape for shape, number in shapes(workers) if number == tasks]
    for shape in fitting:
        wanted = ((p, shape.p), (rho, shape.rho), (gamma, shape.gamma))
        if all(given in (None, own) for given, own in wanted):
            return LdpcCode("ldpc", assignment(shape))
    asked = "".join(
        f", {name}={value}" for name, value in (("p", p), ("rho", rho), ("gamma", gamma)) if value
    )
    raise CodeError(
        f"ldpc: no shape for {workers} workers and {tasks} tasks{asked}; {possible(tasks, fitting)}"
    )


def possible(tasks: int, fitting: list[Shape]) -> str:
    """What there is instead."""
    if fitting:
        names = [f"p={one.p}, rho={one.rho}, gamma={one.gamma}" for one in fitting[:NAMED]]
        return f"there is {' or '.join(names)}"
    counts = workers_for(tasks)[:NAMED]
    if counts:
        return f"{tasks} tasks go with {', '.join(map(str, counts))} workers"
    return "mds takes any"


def reduced(matrix: Bits) -> tuple[Bits, list[int]]:
    """The reduced row echelon form over GF(2), without zero rows, and its pivot columns."""
    rows, pivots = matrix.copy(), list[int]()
    for column in range(rows.shape[1]):
        rank = len(pivots)
        candidates = np.flatnonzero(rows[rank:, column])
        if len(candidates):
            rows[[rank, rank + candidates[0]]] = rows[[rank + candidates[0], rank]]
            others = np.flatnonzero(rows[:, column])
            rows[others[others != rank]] ^= rows[rank]
            pivots.append(column)
        if len(pivots) == len(rows):
            break
    return rows[: len(pivots)], pivots


def assignment(shape: Shape) -> Floats:
    """The systematic generator, transposed [N, M]: a row for every bit of a code word, those of the
    message first.
    """
    checks, pivots = reduced(shape.parity())
    free = [column for column in range(shape.workers) if column not in pivots]
    return np.vstack([np.eye(len(free)), checks[:, free].astype(np.float64)])


class LdpcCode(TaskCode):
    """Peels: a row with one unknown task gives it, which is then taken from all other rows. What
    peeling leaves over is solved by least squares.
    """

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        weights = peeled(self.matrix[list(received)])
        if not weights.any(axis=1).all():
            return super()._weights(received, careful)
        return weights.astype(np.longdouble)


def peeled(rows: Floats) -> Floats:
    """Whole-number weights [M, R] of the tasks that peeling finds; zeros for the others.

    `rows` are 0 and 1. Rows of one task come first, so that what arrived plainly is copied.
    """
    count, tasks = rows.shape
    weights = np.zeros((tasks, count))
    unknown = rows != 0
    mixture = np.eye(count)  # how what is left of each row is made of the rows
    while True:
        singles = np.flatnonzero(unknown.sum(axis=1) == 1)
        if not len(singles):
            return weights
        row = singles[0]
        task = int(unknown[row].argmax())
        weights[task] = mixture[row]
        holders = np.flatnonzero(unknown[:, task])
        mixture[holders] -= weights[task]
        unknown[holders, task] = False

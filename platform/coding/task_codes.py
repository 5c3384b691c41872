"""Codes that recover the result of every task (Wang et al. 2021, section III)."""

from collections.abc import Callable

import numpy as np
from numpy.random import PCG64, Generator

from covey.platform.coding.code import MAX_ERROR, Code, Floats, Plan, error_bound
from covey.platform.coding.patterns import sampled
from covey.platform.seeds import derive

GOOD_BOUND = 1e-11
"""Of the sampled decodes of a draw at worst; a draw that is worse is drawn again."""
DRAWS = 20
SAMPLES = 200
VANDERMONDE_ERROR = 1e-2
"""As much error is put up with in the published code, or it would never decode for ten tasks."""


class TaskCode(Code):
    """Decodes by what arrived plainly, and least squares for the rest."""

    def __init__(
        self, name: str, matrix: Floats, tolerance: int, *, max_error: float = MAX_ERROR
    ) -> None:
        super().__init__(name, matrix, max_error=max_error)
        self._tolerance = tolerance

    @property
    def tolerance(self) -> int:
        return self._tolerance

    def _make_plan(self, received: tuple[int, ...]) -> Plan | None:
        rows = self.matrix[list(received)]
        weights = plain_first(rows)
        if weights is None:
            return None
        used = np.flatnonzero(weights.any(axis=0))
        bound = error_bound(weights[:, used], rows[used], np.eye(self.tasks))
        return Plan(tuple(received[place] for place in used), weights[:, used], bound)


def plain_first(rows: Floats) -> Floats | None:
    """Weights [M, R] with `weights @ rows` the identity: copies of the tasks that some row holds
    alone with coefficient 1, and least squares over all other rows for the missing ones. None if
    the rows have a smaller rank than M.
    """
    count, tasks = rows.shape
    weights = np.zeros((tasks, count))
    alone = (np.count_nonzero(rows, axis=1) == 1) & (rows.max(axis=1) == 1.0)
    for row in np.flatnonzero(alone)[::-1]:  # of several copies the first is taken
        task = int(rows[row].argmax())
        weights[task] = 0.0
        weights[task, row] = 1.0
    missing = ~weights.any(axis=1)
    if not missing.any():
        return weights
    mixed = np.flatnonzero(~alone)
    if len(mixed) < missing.sum():
        return None
    inverse = left_inverse(rows[np.ix_(mixed, missing)])
    if inverse is None:
        return None
    # The mixed rows without what is known of them: rows - known part @ copies.
    weights[np.ix_(missing, mixed)] = inverse
    weights[missing] -= inverse @ rows[np.ix_(mixed, ~missing)] @ weights[~missing]
    return weights


def left_inverse(matrix: Floats) -> Floats | None:
    """The pseudo-inverse [K, R] of [R, K] of full column rank, else None."""
    u, singular, vt = np.linalg.svd(matrix, full_matrices=False)
    if singular[-1] <= singular[0] * len(matrix) * np.finfo(np.float64).eps:
        return None
    inverse: Floats = (vt.T / singular) @ u.T
    return inverse


def uncoded(workers: int, tasks: int) -> TaskCode:
    """Every task on one worker of its own."""
    return TaskCode("uncoded", np.eye(tasks), 0)


def replication(workers: int, tasks: int) -> TaskCode:
    """Worker j has task j mod M."""
    matrix = np.eye(tasks)[np.arange(workers) % tasks]
    return TaskCode("replication", matrix, workers // tasks - 1)


def mds(workers: int, tasks: int, seed: int) -> TaskCode:
    """Systematic: the first M workers have a task each, the others a dense mixture of all, drawn so
    that rows (or columns) are orthonormal.
    """

    def draw(generator: Generator) -> Floats:
        return np.vstack([np.eye(tasks), orthonormal(generator, workers - tasks, tasks)])

    return well_conditioned("mds", draw, workers, tasks, seed)


def mds_dense(workers: int, tasks: int, seed: int) -> TaskCode:
    """Every worker has a mixture of all tasks: orthonormal columns, drawn uniformly."""
    return well_conditioned(
        "mds-dense", lambda generator: orthonormal(generator, workers, tasks), workers, tasks, seed
    )


def vandermonde(workers: int, tasks: int) -> TaskCode:
    """The published choice: powers of M nodes from 0.1 to 0.5. Ill conditioned: for comparison."""
    matrix = np.vander(np.linspace(0.1, 0.5, tasks), workers).T
    return TaskCode("vandermonde", matrix, workers - tasks, max_error=VANDERMONDE_ERROR)


def random_sparse(workers: int, tasks: int, seed: int, density: float = 0.8) -> TaskCode:
    """Normal coefficients, each kept with probability `density`; no row or column is left empty."""

    def draw(generator: Generator) -> Floats:
        matrix = generator.standard_normal((workers, tasks))
        matrix[generator.random((workers, tasks)) >= density] = 0.0
        return matrix

    return well_conditioned("random-sparse", draw, workers, tasks, seed)


def orthonormal(generator: Generator, rows: int, columns: int) -> Floats:
    """Drawn uniformly among the matrices with orthonormal rows or columns, whichever are fewer."""
    if rows == 0:
        return np.empty((0, columns))
    long, short = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(generator.standard_normal((long, short)))
    q *= np.sign(np.diag(r))
    return q if rows >= columns else q.T


def well_conditioned(
    name: str, draw: Callable[[Generator], Floats], workers: int, tasks: int, seed: int
) -> TaskCode:
    """The first draw that decodes well without any of many sampled sets of `workers - tasks`
    stragglers; the best of the draws if none does.
    """
    generator = Generator(PCG64(derive(seed, "code", workers, tasks)))
    best, least = None, np.inf
    for _ in range(DRAWS):
        code = TaskCode(name, draw(generator), workers - tasks)
        worst = worst_bound(code, generator)
        if worst < least:
            best, least = code, worst
        if worst <= GOOD_BOUND:
            break
    if best is None:
        raise CodeError("...")
    return best


def worst_bound(code: TaskCode, generator: Generator) -> float:
    """The largest error bound of sampled decodes at the limit of what the code tolerates; infinite
    if one of them does not decode.
    """
    patterns = sampled(code.workers, code.tolerance, SAMPLES, generator)
    plans = (code.plan(received) for received in patterns)
    return max(np.inf if plan is None else plan.bound for plan in plans)

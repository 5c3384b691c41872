"""Codes that recover the result of every task (Wang et al. 2021, section III)."""

import numpy as np
from numpy.random import PCG64, Generator

from covey.platform.coding.code import Code, CodeError
from covey.platform.coding.draws import best_draw, of_solving
from covey.platform.coding.plan import MAX_ERROR
from covey.platform.coding.product import Extended, Floats, left_over
from covey.platform.coding.tolerance import all_decode
from covey.platform.seeds import derive

GOOD = 1e4
"""So much at most should a random code amplify rounding by: see `of_solving`."""
VANDERMONDE_ERROR = 1e-2
"""As much error is put up with in the published code, or it would never decode for ten tasks."""


class TaskCode(Code):
    """Decodes by what arrived plainly, and least squares for the rest."""

    def __init__(
        self,
        name: str,
        matrix: Floats,
        tolerance: int | None = None,
        *,
        drawn: bool = False,
        max_error: float = MAX_ERROR,
    ) -> None:
        """`tolerance` None: found out by trying. `drawn`: its coefficients are random numbers."""
        super().__init__(name, matrix, max_error=max_error)
        self._tolerance, self._drawn = tolerance, drawn

        self._known: dict[int, bool] = {}

    @property
    def tolerance(self) -> int:
        if self._tolerance is None:
            least = most = self.workers - self.tasks
            step = 1
            while least > 0 and not self.tolerates(least):  # mostly it is near to this
                least, most, step = max(0, least - step), least - 1, 2 * step
            while least < most:
                middle = (least + most + 1) // 2
                least, most = (middle, most) if self.tolerates(middle) else (least, middle - 1)
            self._tolerance = least
        return self._tolerance

    def tolerates(self, stragglers: int) -> bool:
        if self._tolerance is not None or stragglers > self.workers - self.tasks:
            return super().tolerates(stragglers)
        if stragglers not in self._known:
            self._known[stragglers] = all_decode(self, stragglers, self._drawn)
        return self._known[stragglers]

    def decodes_at_all(self) -> bool:
        """Whether everybody has something to do, and all results together are enough."""
        return bool(self.matrix.any(axis=1).all()) and self.decodable(range(self.workers))

    def _weights(self, received: tuple[int, ...], careful: bool) -> Extended | None:
        return plain_first(self.matrix[list(received)], careful)


def plain_first(rows: Floats, careful: bool) -> Extended | None:
    """Weights [M, R] with `weights @ rows` the identity: copies of the tasks that some row holds
    alone with coefficient 1, and least squares over all other rows for the missing ones. None if
    the rows have a smaller rank than M.
    """
    count, tasks = rows.shape
    weights = np.zeros((tasks, count), np.longdouble)
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
    inverse = left_inverse(rows[np.ix_(mixed, missing)], careful)
    if inverse is None:
        return None
    weights[np.ix_(missing, mixed)] = inverse
    # The mixed rows are taken without what is known of them.
    copied = weights[~missing].argmax(axis=1)
    weights[np.ix_(missing, copied)] = -inverse @ rows[np.ix_(mixed, ~missing)]
    return weights


def left_inverse(matrix: Floats, careful: bool) -> Extended | None:
    """The pseudo-inverse [K, R] of [R, K] of full column rank, else None.

    With care it is refined: what it leaves of the identity is squared by a step of Newton's (Higham
    2002, section 14.5); the second is for the ill-conditioned.
    """
    u, singular, vt = np.linalg.svd(matrix, full_matrices=False)
    if singular[-1] <= singular[0] * len(matrix) * np.finfo(np.float64).eps:
        return None
    rough = (vt.T / singular) @ u.T
    inverse: Extended = rough.astype(np.longdouble)
    for _ in range(2 if careful else 0):
        inverse += left_over(inverse, matrix, np.eye(matrix.shape[1])) @ rough
    return inverse


def uncoded(workers: int, tasks: int) -> TaskCode:
    """Every task on one worker of its own."""
    if workers != tasks:
        raise CodeError(
            f"uncoded: {tasks} tasks are for {tasks} workers, others would have nothing to do;"
            f" workers={tasks}"
        )
    return TaskCode("uncoded", np.eye(tasks), 0)


def replication(workers: int, tasks: int) -> TaskCode:
    """Worker j has task j mod M."""
    matrix = np.eye(tasks)[np.arange(workers) % tasks]
    return TaskCode("replication", matrix, workers // tasks - 1)


def mds(workers: int, tasks: int, seed: int) -> TaskCode:
    """Systematic: the first M workers have a task each, the others a dense mixture of all, drawn so
    that rows (or columns) are orthonormal. Any M results determine all; with tens of workers one
    set of them in 500 is so near to another's span that it waits for one result more.
    """

    def draw(generator: Generator) -> TaskCode:
        parity = orthonormal(generator, workers - tasks, tasks)
        return TaskCode("mds", np.vstack([np.eye(tasks), parity]), workers - tasks)

    return best_draw(draw, of_solving, Generator(PCG64(derive(seed, "mds", workers, tasks))), GOOD)


def mds_dense(workers: int, tasks: int, seed: int) -> TaskCode:
    """Every worker has a mixture of all tasks: orthonormal columns, drawn uniformly."""

    def draw(generator: Generator) -> TaskCode:
        return TaskCode("mds-dense", orthonormal(generator, workers, tasks), workers - tasks)

    return best_draw(
        draw, of_solving, Generator(PCG64(derive(seed, "mds-dense", workers, tasks))), GOOD
    )


def vandermonde(workers: int, tasks: int) -> TaskCode:
    """The published choice: powers of M nodes from 0.1 to 0.5. Ill conditioned: for comparison."""
    code = published(workers, tasks)
    if not code.decodable(range(workers)):
        fits = next(m for m in range(tasks - 1, 0, -1) if published(workers, m).decodes_at_all())
        raise CodeError(
            f"vandermonde: rounding leaves nothing of {tasks} tasks, even of all {workers} workers'"
            f" results; tasks={fits} and fewer can be had, mds takes any"
        )
    return code


def published(workers: int, tasks: int) -> TaskCode:
    """The matrix, whether or not it is of use."""
    matrix = np.vander(np.linspace(0.1, 0.5, tasks), workers).T
    return TaskCode("vandermonde", matrix, max_error=VANDERMONDE_ERROR)


def random_sparse(workers: int, tasks: int, seed: int, density: float = 0.8) -> TaskCode:
    """Normal coefficients, each kept with probability `density`; no row or column is left empty."""
    if not 0 < density <= 1:
        raise CodeError(f"random-sparse: density is above 0 and at most 1, not {density:g}")

    def drawn(density: float) -> TaskCode:
        return best_draw(
            lambda generator: sparse(generator, workers, tasks, density),
            of_solving,
            Generator(PCG64(derive(seed, "random-sparse", workers, tasks))),
            GOOD,
        )

    code = drawn(density)
    if not code.decodes_at_all():
        tried = (d / 100 for d in range(int(100 * density) + 1, 100))
        fits = next((d for d in tried if drawn(d).decodes_at_all()), 1.0)
        raise CodeError(
            f"random-sparse: with density {density:g} a worker or a task of {tasks} on {workers}"
            f" would have nothing, or all results not be enough; density={fits:g} does"
        )
    return code


def sparse(generator: Generator, workers: int, tasks: int, density: float) -> TaskCode:
    """A draw."""
    matrix = generator.standard_normal((workers, tasks))
    matrix[generator.random((workers, tasks)) >= density] = 0.0
    return TaskCode("random-sparse", matrix, drawn=True)


def orthonormal(generator: Generator, rows: int, columns: int) -> Floats:
    """Drawn uniformly among the matrices with orthonormal rows or columns, whichever are fewer."""
    if rows == 0:
        return np.empty((0, columns))
    long, short = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(generator.standard_normal((long, short)))
    q *= np.sign(np.diag(r))
    return q if rows >= columns else q.T

"""The codes by name: one line each."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from covey.platform.coding import ldpc, sum_codes, task_codes
from covey.platform.coding.code import Code, CodeError
from covey.platform.jobfile.nearest import nearest

MOST = 1024
CODES: dict[str, Callable[..., Code]] = {
    "uncoded": task_codes.uncoded,
    "replication": task_codes.replication,
    "mds": task_codes.mds,
    "mds-dense": task_codes.mds_dense,
    "vandermonde": task_codes.vandermonde,
    "random-sparse": task_codes.random_sparse,
    "ldpc": ldpc.ldpc,
}
SUM_CODES: dict[str, Callable[..., Code]] = {
    "fractional-repetition": sum_codes.fractional_repetition,
    "cyclic": sum_codes.cyclic,
    "stochastic": sum_codes.stochastic,
    "approximate": sum_codes.approximate,
}


def make_code(name: str, *, workers: int, tasks: int, seed: int = 0, **options: Any) -> Code:
    """An assignment of M `tasks` to N `workers`; `seed` draws what is random.

    `stragglers=s`: how many workers may be missing, whichever they are (of codes for sums it is a
    part of the construction, 1 if left out). `density` of random-sparse is the part of its numbers
    that are not 0; `copies` of stochastic and approximate is how many workers have a task; `p`,
    `rho`, `gamma` choose among several shapes of ldpc. Raises CodeError, which says what would do.
    """
    known = CODES | SUM_CODES
    if name not in known:
        meant = nearest(name, known)
        hint = f"; nearest is {meant}" if meant else ""
        raise CodeError(f"there is no code {name!r}, but {', '.join(known)}{hint}")
    check_counts(name, workers, tasks, options.get("stragglers"))
    takes = list(signature(known[name]).parameters)[2:]
    allowed = {*takes, "stragglers"} - {"seed"}
    for option in options:
        if option not in allowed:
            raise CodeError(f"{name}: no option {option!r}; there is {', '.join(sorted(allowed))}")
    wanted = options.get("stragglers", 1 if name in SUM_CODES else 0)
    given = {**options, "seed": seed, "stragglers": wanted}
    code = known[name](workers, tasks, **{key: given[key] for key in takes if key in given})
    if code.tolerance < wanted:
        raise CodeError(
            f"{name}: {workers} workers for {tasks} tasks can do without any {code.tolerance}, not"
            f" {wanted}{enough(name, tasks, wanted)}"
        )
    return code


def check_counts(name: str, workers: int, tasks: int, stragglers: object) -> None:
    """Raise CodeError for numbers that no code of that name can have."""
    for what, number in (("workers", workers), ("tasks", tasks)):
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
            raise CodeError(f"{name}: {what} is a whole number from 1 to {MOST}, not {number!r}")
    if stragglers is not None:
        whole = isinstance(stragglers, int) and not isinstance(stragglers, bool)
        if not whole or not 0 <= stragglers < workers:  # type: ignore[operator]
            raise CodeError(
                f"{name}: of {workers} workers 0 to {workers - 1} can be stragglers,"
                f" not {stragglers!r}"
            )
    if name in CODES and workers < tasks:
        raise CodeError(
            f"{name}: {workers} workers are too few for {tasks} tasks; workers={tasks} or more are"
            " enough"
        )


def enough(name: str, tasks: int, stragglers: int) -> str:
    """How many workers would do."""
    least = {
        "replication": tasks * (stragglers + 1),
        **dict.fromkeys(("mds", "mds-dense", "vandermonde", "random-sparse"), tasks + stragglers),
    }.get(name)
    if least is None:
        return f"; mds with workers={tasks + stragglers} can"
    return f"; workers={least} can"

"""The codes by name: one line each."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from typing import Any

from covey.platform.coding import ldpc, sum_codes, task_codes
from covey.platform.coding.code import Code, CodeError
from covey.platform.jobfile.nearest import nearest

MOST = 1024
TRIED = 4
"""Numbers of workers: as many as tasks and stragglers together nearly always do, or one more."""
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
    if not code.tolerates(wanted):
        raise CodeError(
            f"{name}: {workers} workers for {tasks} tasks can do without any {code.tolerance}, not"
            f" {wanted}{enough(name, tasks, wanted, {**options, 'seed': seed})}"
        )
    return code


def check_counts(name: str, workers: int, tasks: int, stragglers: object) -> None:
    """Raise CodeError for numbers that no code of that name can have."""
    for what, number in (("workers", workers), ("tasks", tasks)):
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
            raise CodeError(f"{name}: {what} is a whole number from 1 to {MOST}, not {number!r}")
    if stragglers is not None:
        whole = isinstance(stragglers, int) and not isinstance(stragglers, bool)
        if not whole or stragglers < 0:  # type: ignore[operator]
            raise CodeError(f"{name}: stragglers is a whole number, 0 or more, not {stragglers!r}")
        parted = name in SUM_CODES and name != "fractional-repetition"  # which names what it can
        if parted and stragglers >= workers:  # type: ignore[operator]
            raise CodeError(
                f"{name}: of {workers} workers up to {workers - 1} can be stragglers, not"
                f" {stragglers}"
            )
    if name in CODES and workers < tasks:
        raise CodeError(
            f"{name}: {workers} workers are too few for {tasks} tasks; workers={tasks} or more are"
            " enough"
        )


def enough(name: str, tasks: int, stragglers: int, options: Mapping[str, Any]) -> str:
    """How many workers would do."""
    if name in CODES:
        own = {key: value for key, value in options.items() if key != "stragglers"}
        least = least_workers(name, tasks, stragglers, **own)
        if least is not None:
            return f"; workers={least} can"
    least = least_workers("mds", tasks, stragglers)
    return "" if least is None else f"; mds with workers={least} can"


def least_workers(name: str, tasks: int, stragglers: int, **options: Any) -> int | None:
    """With how many workers a code for so many tasks does without so many stragglers; None if with
    none that it would be sensible to try.
    """
    if name == "replication":
        counts: Sequence[int] = [tasks * (stragglers + 1)]
    elif name == "ldpc":
        counts = ldpc.workers_for(tasks)
    elif name == "uncoded":
        counts = [tasks] * (not stragglers)
    else:
        counts = range(tasks + stragglers, tasks + stragglers + TRIED)
    takes = list(signature(CODES[name]).parameters)[2:]
    given = {key: options[key] for key in takes if key in options}
    if "seed" in takes:
        given.setdefault("seed", 0)
    for workers in counts:
        with suppress(CodeError):
            if workers <= MOST and CODES[name](workers, tasks, **given).tolerates(stragglers):
                return workers
    return None

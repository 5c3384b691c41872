"""How far off decoded numbers are, for every code and thousands of sets of those who answer.

    python tests/benchmarks/code_errors.py [--sets 4000] [--most 64]

For each code and some numbers of stragglers up to its tolerance: all sets of stragglers where there
are no more than asked for, else those in a row and random ones. The error is the largest difference
from what is computed in longer numbers, relative to the largest result, for normal results and for
results that are all of one size, where roundings fall together. `waiting` sets need one result
more; `over` are those with an error above the bound that is told with the decode.

One JSON object; exit status 1 where an error is above 1e-11 or above its bound. From the first are
excepted vandermonde, the published code, which is there for comparison, and cyclic codes of more
than 16 workers, which amplify rounding the more the more workers there are: those are held to 1e-9.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from math import comb
from typing import Any

import numpy as np

from covey.platform.coding import Code, make_code
from covey.platform.coding.patterns import received_sets, sampled

BAR = 1e-11
COLUMNS = 40
SIZES = ((6, 3), (15, 8), (15, 10), (16, 8), (20, 10), (32, 24), (64, 8), (64, 32), (64, 48))
RANDOM = ("mds", "mds-dense", "random-sparse")
SUMS = ((6, 1), (6, 2), (15, 3), (15, 7), (16, 3), (20, 7), (32, 3), (64, 3), (64, 7))


def codes(most: int) -> Iterator[Code]:
    """All that are looked at, of up to so many workers."""
    for workers, tasks in SIZES:
        if workers > most:
            continue
        for name in RANDOM:
            yield make_code(name, workers=workers, tasks=tasks)
        yield make_code("replication", workers=workers // tasks * tasks, tasks=tasks)
        yield make_code("uncoded", workers=tasks, tasks=tasks)
    for tasks in (8, 10):
        yield make_code("ldpc", workers=15, tasks=tasks)
        yield make_code("vandermonde", workers=15, tasks=tasks)
    for workers, stragglers in SUMS:
        if workers > most:
            continue
        yield make_code("cyclic", workers=workers, tasks=workers, stragglers=stragglers)
        if not workers % (stragglers + 1):
            yield make_code(
                "fractional-repetition", workers=workers, tasks=workers, stragglers=stragglers
            )


def bar_of(code: Code) -> float | None:
    """What its error may be; None: anything."""
    if code.name == "vandermonde":
        return None
    return 1e-9 if code.name == "cyclic" and code.workers > 16 else BAR


def results_of(tasks: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """[M, 2 P]: normal numbers, then the largest of them with either sign."""
    normal = generator.standard_normal((tasks, COLUMNS))
    signs = generator.choice([-1.0, 1.0], (tasks, COLUMNS)) * abs(normal).max()
    return np.concatenate([normal, signs], axis=1)


def looked_at(code: Code, stragglers: int, sets: int) -> dict[str, Any]:
    """The worst of many sets of so many stragglers."""
    generator = np.random.default_rng(stragglers)
    results = results_of(code.tasks, generator)
    sent = [code.encode(worker, dict(enumerate(results))) for worker in range(code.workers)]
    wanted = results.astype(np.longdouble)
    wanted = wanted.sum(axis=0) if code.sums else wanted
    few = comb(code.workers, stragglers) <= sets
    found = (
        received_sets(code.workers, stragglers)
        if few
        else sampled(code.workers, stragglers, sets, generator)
    )
    count = waiting = over = 0
    error = bound = 0.0
    for received in found:
        count += 1
        if not code.decodable(received):
            waiting += 1
            continue
        decoded = code.decode_with_bound({worker: sent[worker] for worker in received})
        off = float(abs(decoded.values - wanted).max() / abs(results).max())
        error, bound = max(error, off), max(bound, decoded.error_bound)
        over += off > decoded.error_bound
    return {
        "code": code.name,
        "workers": code.workers,
        "tasks": code.tasks,
        "tolerance": code.tolerance,
        "stragglers": stragglers,
        "sets": count,
        "waiting": waiting,
        "error": error,
        "bound": bound,
        "over": over,
        "bar": bar_of(code),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=4000)
    parser.add_argument("--most", type=int, default=64, help="workers")
    arguments = parser.parse_args()
    table = []
    for code in codes(arguments.most):
        most = code.tolerance
        for stragglers in sorted({min(1, most), most // 2, most}):
            table.append(looked_at(code, stragglers, arguments.sets))
            print(json.dumps(table[-1]), file=sys.stderr, flush=True)
    missed = [row for row in table if row["over"] or (row["bar"] and row["error"] > row["bar"])]
    print(json.dumps({"table": table, "missed": missed}, indent=2))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

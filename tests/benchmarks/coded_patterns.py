"""That a coded update is the centralised one, whoever answers.

    python tests/benchmarks/coded_patterns.py [--agents 3 8 10] [--most 10000]

Every code, 3, 8 and 10 agents, and every set of workers that is enough; where there are more sets
of as many stragglers than `--most`, so many of them. Results are real updates of MADDPG, computed
once; for sums of gradients they are the parts. Decoded they are the centralised ones: the largest
difference, relative to the largest number, is at most 1e-11 and under its bound (vandermonde, which
is ill conditioned: under its bound alone), and with the exact forms every bit is the same. One JSON
object; exit status 1 where that does not hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from coded_equality import WORKERS, Case, Rows

from covey.platform.coding import CODES, SUM_CODES, Code, CodeError, make_code
from covey.platform.coding.exact import byte_code
from covey.platform.coding.patterns import received_sets
from covey.platform.environment import prepare_libraries

BAR = 1e-11
EXACT = ("uncoded", "replication", "mds", "ldpc")


def codes(agents: int) -> Iterator[Code]:
    """Every code for so many agents; those for sums with every number of stragglers."""
    for name in CODES:
        workers = agents if name == "uncoded" else WORKERS[agents]
        yield make_code(name, workers=workers, tasks=agents)
    for name in ("fractional-repetition", "cyclic"):
        for stragglers in range(agents):
            try:
                yield make_code(name, workers=agents, tasks=agents, stragglers=stragglers)
            except CodeError:
                continue  # fractional repetition needs a divisor


def sets_of(code: Code, most: int) -> Iterator[tuple[int, ...]]:
    """Those who answer, for every number of stragglers with which they could be enough."""
    least = 1 if code.sums else code.tasks
    for stragglers in range(code.workers - least + 1):
        yield from received_sets(code.workers, stragglers, most=most)


def numbers(code: Code, rows: Rows, most: int) -> dict[str, Any]:
    """Of the code over numbers: sets, those that are enough, and the largest error."""
    results = rows.astype(np.float64)
    wanted, largest = results.sum(axis=0) if code.sums else results, abs(results).max()
    sent = [code.encode(worker, dict(enumerate(results))) for worker in range(code.workers)]
    count = decodable = 0
    worst, over = 0.0, False
    for received in sets_of(code, most):
        count += 1
        if not code.decodable(received):
            assert code.workers - len(received) > code.tolerance, (code.name, received)
            continue
        decodable += 1
        found = code.decode_with_bound({worker: sent[worker] for worker in received})
        error = float(abs(found.values - wanted).max() / largest)
        worst, over = max(worst, error), over or error > found.error_bound
    held = not over and (worst <= BAR or code.name == "vandermonde")
    return {"sets": count, "decodable": decodable, "error": worst, "held": held}


def bits(code: Code, rows: Rows, most: int) -> dict[str, Any]:
    """Of the code over bytes: sets, those that are enough, and whether every bit is the same."""
    form = byte_code(code, rows[0].nbytes)
    blobs = [row.tobytes() for row in rows]
    sent = [form.encode(worker, dict(enumerate(blobs))) for worker in range(code.workers)]
    count = decodable = 0
    held = True
    for received in sets_of(code, most):
        count += 1
        if form.decodable(received):
            decodable += 1
            found = form.decode({worker: sent[worker] for worker in received})
            held &= all(bytes(one) == blob for one, blob in zip(found, blobs, strict=True))
    return {"sets": count, "decodable": decodable, "error": 0.0 if held else 1.0, "held": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", choices=list(WORKERS), default=[3, 8, 10])
    parser.add_argument("--most", type=int, default=10_000)
    arguments = parser.parse_args()
    prepare_libraries()
    table: list[dict[str, Any]] = []
    for agents in arguments.agents:
        case = Case(agents)
        batch = next(case.snapshots(1))
        rows = case.central({**batch, "rows": case.start()})
        for code in codes(agents):
            kinds = [numbers, bits] if code.name in EXACT else [numbers]
            for look in kinds:
                began = time.monotonic()
                found = look(code, rows, arguments.most)
                told = {"agents": agents, "code": code.name, "tolerance": code.tolerance}
                table.append({**told, "exact": look is bits, **found})
                print(*table[-1].values(), f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    assert {row["code"] for row in table} == {*CODES, *SUM_CODES} - {"stochastic", "approximate"}
    held = all(row["held"] for row in table)
    print(json.dumps({"table": table, "held": held}, indent=2))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()

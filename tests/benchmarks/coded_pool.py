"""What a pool of coded workers costs, and what stragglers cost it. All workers are Ray actors.

    python tests/benchmarks/coded_pool.py delay     15 workers, 8 agents, stragglers 1 s late
    python tests/benchmarks/coded_pool.py overhead  uncoded, no stragglers, against one process
    python tests/benchmarks/coded_pool.py decode    1M parameters from 15 workers, 7 of 8 recovered

Each prints one JSON object. Exit status 1 where a bar is missed: no iteration up to the tolerance
contains the delay (against the model of those alone who are not late), T(k) of mds-dense within
1.10 T(0), mds within 15 % of the model, uncoded pays the delay; the pool within 1.15 times one
process; decoding below 50 ms, exact below 250 ms.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from operator import sub, truediv
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.coded import Coded, make_pool
from covey.algorithms.study.coded import workers_of
from covey.algorithms.study.command import private_ray
from covey.algorithms.study.measure import (
    CORES,
    Setting,
    as_modelled,
    measured,
    work_of,
)
from covey.platform.coding import make_code
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.stragglers import Injection
from covey.platform.environment import prepare_libraries
from covey.platform.runtime.crew import Crew
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.threads import one_blas_thread

AGENTS, DELAY_S = 8, 1.0
PARAMETERS = 1_000_000


def delay(make_crew: Callable[[], Crew], rounds: int) -> dict[str, Any]:
    """Iterations of each code against the number of stragglers."""
    setting = Setting("simple_spread", AGENTS, DELAY_S, (0, 1, 3, 5, 7))
    work, snapshot = work_of(setting, 1024)
    found: dict[str, Any] = {"cores": CORES}
    for name in ("uncoded", "mds", "mds-dense"):
        coded = Coded(code=name, workers=workers_of(name, AGENTS))  # type: ignore[arg-type]
        code = coded.make(AGENTS, 0)
        found[name] = {}
        for k, own in measured(coded, work, snapshot, setting, rounds, make_crew).items():
            alike = as_modelled(code, own)
            never = [[inf if late_s else 0.0 for late_s in delays] for delays in own.delays_s]
            alone = as_modelled(code, replace(own, delays_s=tuple(never)))
            found[name][k] = {
                "task_s": own.costs.task_s,
                "median_s": median(own.seconds),
                "mean_s": own.mean_s,
                "worst_s": max(own.seconds),
                # Of those who are not late at all: infinite where they are not enough.
                "behind_the_others_s": max(map(sub, own.seconds, alone.seconds)),
                "to_model": median(map(truediv, own.seconds, alike.seconds)),
                "mean_to_model": own.mean_s / alike.mean_s,
            }
    tolerant = [cell for name in ("mds", "mds-dense") for cell in found[name].values()]
    dense = [cell["median_s"] for cell in found["mds-dense"].values()]
    found["held"] = {
        "no iteration contains the delay": all(
            -inf < cell["behind_the_others_s"] < DELAY_S / 2 for cell in tolerant
        ),
        "dense is flat": max(dense) <= 1.10 * dense[0],
        "mds as modelled": all(abs(c["to_model"] - 1) <= 0.15 for c in found["mds"].values()),
        "uncoded pays": all(
            cell["median_s"] >= DELAY_S for k, cell in found["uncoded"].items() if k
        ),
    }
    return found


def overhead(make_crew: Callable[[], Crew], rounds: int) -> dict[str, Any]:
    """The same updates through the pool, and in this process in as many threads as cores."""
    work, snapshot = work_of(Setting("simple_spread", AGENTS, 0.0, (0,)), 1024)
    tasks = work.make_tasks()
    crew = make_crew()
    pool = make_pool(Coded(code="uncoded"), work, 0, crew, lambda kind, message: None)
    alone: list[float] = []
    pooled: list[float] = []
    with ThreadPoolExecutor(CORES) as threads:
        for round_number in range(rounds + 3):  # in turn; the first ones warm up
            began = time.perf_counter()
            list(threads.map(lambda agent: tasks.compute(snapshot, agent), range(AGENTS)))
            between = time.perf_counter()
            pool.iterate(snapshot)
            if round_number >= 3:
                alone.append(between - began)
                pooled.append(time.perf_counter() - between)
    pool.close()
    crew.close()
    ratio = median(pooled) / median(alone)
    return {
        "one_process_s": median(alone),
        "pool_s": median(pooled),
        "ratio": ratio,
        "held": {"below 15 %": ratio < 1.15},
    }


class Large:
    """Results of so many parameters that cost next to nothing."""

    def compute(self, snapshot: Mapping[str, NDArray[Any]], task: int) -> NDArray[np.float32]:
        row: NDArray[np.float32] = snapshot["rows"][task] + np.float32(1)
        return row


def decode(make_crew: Callable[[], Crew], rounds: int) -> dict[str, Any]:
    """Seconds of decoding where all but one of the agents have to be recovered."""
    rows = np.random.default_rng(0).standard_normal((AGENTS, PARAMETERS // AGENTS), np.float32)
    found: dict[str, Any] = {}
    for exact in (False, True):
        crew = make_crew()
        pool = CodedPool(
            crew,
            make_code("mds", workers=15, tasks=AGENTS),
            Large,
            {"rows": rows},
            rows[0],
            lambda kind, message: None,
            exact=exact,
            injection=Injection(fixed=tuple(range(AGENTS - 1)), delay_s=DELAY_S),
        )
        for _ in range(2):
            outcome = pool.iterate({"rows": rows})
        taken, error = [], 0.0
        for _ in range(rounds):
            outcome = pool.iterate({"rows": rows})
            taken.append(outcome.metrics["decode_s"])
            wanted = rows + np.float32(1)
            error = max(error, float(np.abs(outcome.values - wanted).max() / np.abs(wanted).max()))
        pool.close()
        crew.close()
        kind = "exact" if exact else "float64"
        found[kind] = {"median_s": median(taken), "worst_s": max(taken), "error": error}
    found["held"] = {
        "float64 below 50 ms": found["float64"]["median_s"] < 0.05,
        "exact below 250 ms": found["exact"]["median_s"] < 0.25,
        "right": found["float64"]["error"] <= 1e-11 and found["exact"]["error"] == 0,
    }
    return found


PARTS = {"delay": delay, "overhead": overhead, "decode": decode}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    prepare_libraries()
    one_blas_thread()
    keep_freed_memory()
    with private_ray() as make_crew:
        found = PARTS[options.part](make_crew, options.rounds)
    print(json.dumps(found))
    sys.exit(0 if all(found["held"].values()) else 1)


if __name__ == "__main__":
    main()

"""`code: auto` against every fixed code it can choose, with no stragglers, few and many.

    python tests/benchmarks/coded_auto.py [--rounds 150]

MADDPG's updates for 8 agents by up to 15 Ray actors. One JSON object: mean seconds of an iteration
under each fixed code, under `auto` after its first 20 iterations, by the clock on the wall and over
so many that other codes are tried again among them, and what it chose. Exit status 1 if that is
more than 1.15 times the best fixed code's.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from covey.algorithms.auto_codes import codes_for_results
from covey.algorithms.coded import Coded, Work
from covey.algorithms.study.command import private_ray
from covey.algorithms.study.measure import WARM_ROUNDS, Arrays, Setting, pool_of, work_of
from covey.platform.coding import CodeError, make_code
from covey.platform.coding.chooser import PROBE_EVERY
from covey.platform.coding.stragglers import Injection
from covey.platform.environment import prepare_libraries
from covey.platform.runtime.crew import Crew

AGENTS, WORKERS = 8, 15
REGIMES = {
    "none": Injection(),
    "few": Injection(stragglers=1, delay_s=1.0),
    "many": Injection(stragglers=6, delay_s=1.0),
}
SETTLED = 20
"""Iterations after which it is to have chosen."""
FIXED_ROUNDS = 40


def told(said: list[str], kind: str, message: str) -> None:
    """Keeps what a pool says."""
    said.append(message)


def run(
    coded: Coded, work: Work, snapshot: Arrays, make_crew: Callable[[], Crew], rounds: int
) -> dict[str, dict[str, Any]]:
    """Mean seconds in every regime, a pool for each code and for each regime of `auto`."""
    found: dict[str, dict[str, Any]] = {}
    automatic = coded.code == "auto"
    for together in [[name] for name in REGIMES] if automatic else [list(REGIMES)]:
        said: list[str] = []
        with pool_of(coded, work, make_crew, partial(told, said)) as pool:
            for name in together:
                pool.injection = REGIMES[name]
                for _ in range(SETTLED if automatic else WARM_ROUNDS):
                    pool.iterate(snapshot)
                began = time.perf_counter()
                for _ in range(rounds):
                    pool.iterate(snapshot)
                taken_s = time.perf_counter() - began
                found[name] = {"mean_s": taken_s / rounds, "said": said[:]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3 * PROBE_EVERY)
    rounds = parser.parse_args().rounds
    prepare_libraries()
    work, snapshot = work_of(Setting("simple_spread", AGENTS, 1.0, ()), 1024)
    fixed: dict[str, dict[str, Any]] = {}
    with private_ray() as make_crew:
        for name, workers, _ in codes_for_results(AGENTS, WORKERS, 0):
            try:
                make_code(name, workers=workers, tasks=AGENTS)
            except CodeError:
                continue
            coded = Coded(code=name, workers=workers)  # type: ignore[arg-type]
            fixed[f"{name} of {workers}"] = run(coded, work, snapshot, make_crew, FIXED_ROUNDS)
            print(name, workers, fixed[f"{name} of {workers}"], file=sys.stderr, flush=True)
        auto = run(Coded(code="auto", workers=WORKERS), work, snapshot, make_crew, rounds)
    report: dict[str, Any] = {}
    for name, injection in REGIMES.items():
        times = {code: cells[name]["mean_s"] for code, cells in fixed.items()}
        best, worst = min(times.values()), max(times.values())
        report[name] = {
            "injection": asdict(injection),
            "fixed_s": times,
            "auto_s": auto[name]["mean_s"],
            "auto_to_best": auto[name]["mean_s"] / best,
            "auto_to_worst": auto[name]["mean_s"] / worst,
            "choices": auto[name]["said"],
        }
    print(json.dumps(report, indent=2))
    sys.exit(0 if all(regime["auto_to_best"] <= 1.15 for regime in report.values()) else 1)


if __name__ == "__main__":
    main()

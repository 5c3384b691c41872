"""Steps of whole worlds per second and core: our batched particle environments against `mpe2`.

    python tests/benchmarks/particles.py [--scenario simple_spread] [--agents 3] [--worlds 1024]

Both in turn on the same core, with random actions. Exit status 1 below 100 times `mpe2`.
"""

import argparse
import os
import sys
import time
from importlib import import_module
from statistics import median
from typing import Any

import numpy as np

from covey.envs.make import EnvSource, make_environments
from covey.envs.world import Outcome

BAR = 100.0


def ours(source: EnvSource, worlds: int, seconds: float) -> float:
    """Steps of all worlds together, per second."""
    env = make_environments(source, worlds, 0, 0)
    row = Outcome.allocate(env.count, env.spaces)
    env.reset(row.observations)
    outcome = row.rewards, row.terminated, row.truncated, row.valid
    actions = np.random.default_rng(0).integers(5, size=(64, env.count))
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        env.step(actions[steps % 64], row.observations, *outcome)
        steps += 1
    return steps * worlds / (time.perf_counter() - began)


def theirs(source: EnvSource, kwargs: dict[str, Any], seconds: float) -> float:
    """The same of one world of `mpe2`."""
    env = import_module(f"mpe2.{source.id}_v3").parallel_env(**kwargs)
    generator = np.random.default_rng(0)
    began, steps = time.perf_counter(), 0
    env.reset(seed=0)
    while time.perf_counter() - began < seconds:
        actions = generator.integers(5, size=len(env.possible_agents)).tolist()
        *_, cut, _ = env.step(dict(zip(env.possible_agents, actions, strict=True)))
        steps += 1
        if all(cut.values()):
            env.reset()
    return steps / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="simple_spread")
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--worlds", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    told = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    source = EnvSource(told.scenario, agents=told.agents)
    kwargs = {"N": told.agents} if told.scenario == "simple_spread" else {}
    rates = [
        (ours(source, told.worlds, told.seconds), theirs(source, kwargs, told.seconds))
        for _ in range(told.rounds)
    ]
    ratios = [one / other for one, other in rates]
    print(f"ours {median(r for r, _ in rates):,.0f}/s  mpe2 {median(r for _, r in rates):,.0f}/s")
    print(f"ratio {median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f}), bar {BAR:.0f}")
    return 0 if median(ratios) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

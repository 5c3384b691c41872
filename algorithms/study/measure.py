"""One code in one setting: real iterations of real workers, and the model of the same ones."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.coded import Coded, Work, make_pool
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.maddpg_learner import MADDPGLearner
from covey.envs.make import EnvSource, make_environments
from covey.platform.coding.code import Code
from covey.platform.coding.model import Costs, iteration_s
from covey.platform.coding.pool import CodedPool
from covey.platform.coding.stragglers import Injection
from covey.platform.runtime.crew import Crew

CORES = len(os.sched_getaffinity(0))
DRAWS = 400
"""Sets of stragglers that the model's mean is taken over where nothing was measured."""
WARM_ROUNDS, COST_ROUNDS = 3, 15

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Setting:
    """One comparison: an environment, its agents, how late stragglers are, and how many."""

    env: str
    agents: int
    delay_s: float
    stragglers: tuple[int, ...]


@dataclass(frozen=True)
class Taken:
    """Seconds of some iterations, how late each worker was in each, and what the work cost."""

    seconds: tuple[float, ...]
    delays_s: tuple[Sequence[float], ...]
    costs: Costs

    @property
    def mean_s(self) -> float:
        """Of an iteration."""
        return mean(self.seconds)


def work_of(setting: Setting, batch_size: int) -> tuple[Work, Arrays]:
    """The updates of an environment's agents, and a snapshot of noise to compute them from."""
    source = EnvSource(setting.env, agents=setting.agents)
    environments = make_environments(source, 1, 0, 0)
    config = MADDPGConfig(name="maddpg", batch_size=batch_size)
    work = MADDPGLearner(config, environments.spaces, 0, 1).work()
    generator = np.random.default_rng(0)
    snapshot = {name: np.array(array) for name, array in work.template.items()}
    for name in ("observations", "next_observations", "rewards"):
        snapshot[name][...] = generator.standard_normal(snapshot[name].shape)
    choices = generator.integers(snapshot["actions"].shape[-1], size=snapshot["actions"].shape[:2])
    snapshot["actions"][...] = np.eye(snapshot["actions"].shape[-1])[choices]
    return work, snapshot


@contextmanager
def pool_of(
    coded: Coded,
    work: Work,
    make_crew: Callable[[], Crew],
    note: Callable[[str, str], None] = lambda kind, message: None,
) -> Iterator[CodedPool]:
    """A pool whose workers have all started: who has not is late, too."""
    crew = make_crew()
    try:
        pool = make_pool(coded, work, 0, crew, note)
        try:
            pool.wait_until_started()
            yield pool
        finally:
            pool.close()
    finally:
        crew.close()


def costs_of(work: Work, snapshot: Arrays, make_crew: Callable[[], Crew] | None) -> Costs:
    """What the model is told: an update, and what comes before and after all of them, as uncoded
    workers find them; without a crew an update in this process.
    """
    if make_crew is None:
        tasks, taken = work.make_tasks(), []
        for task in range(work.tasks):
            began = time.thread_time()
            tasks.compute(snapshot, task)
            taken.append(time.thread_time() - began)
        return Costs(median(taken))
    found: list[Mapping[str, float]] = []
    with pool_of(Coded(code="uncoded"), work, make_crew) as pool:
        for _ in range(WARM_ROUNDS + COST_ROUNDS):
            found.append(pool.iterate(snapshot).metrics)
    return costs_in(found[WARM_ROUNDS:])


def costs_in(iterations: Sequence[Mapping[str, float]]) -> Costs:
    """Medians of what some iterations tell."""
    task_s, broadcast_s, decode_s = (
        median(metrics[name] for metrics in iterations)
        for name in ("task_s", "broadcast_s", "decode_s")
    )
    return Costs(task_s, broadcast_s + decode_s)


def measured(
    coded: Coded,
    work: Work,
    snapshot: Arrays,
    setting: Setting,
    rounds: int,
    make_crew: Callable[[], Crew],
) -> dict[int, Taken]:
    """Real iterations for each number of stragglers."""
    found: dict[int, Taken] = {}
    with pool_of(coded, work, make_crew) as pool:
        for _ in range(WARM_ROUNDS):  # everybody touches their memory
            pool.iterate(snapshot)
        for stragglers in setting.stragglers:
            if stragglers > pool.code.workers:
                continue
            pool.injection = Injection(stragglers, setting.delay_s)
            draw, workers = pool.injection.draw, pool.code.workers
            metrics, delays_s = [], []
            for _ in range(rounds):  # without their values: as in a training, these make room
                outcome = pool.iterate(snapshot)
                metrics.append(outcome.metrics)
                delays_s.append(tuple(draw(outcome.iteration, workers)))
                del outcome
            seconds = tuple(one["iteration_s"] for one in metrics)
            found[stragglers] = Taken(seconds, tuple(delays_s), costs_in(metrics))
    return found


def modelled(code: Code, costs: Costs, setting: Setting, stragglers: int) -> Taken:
    """Iterations of the model for one number of stragglers."""
    injection = Injection(stragglers, setting.delay_s)
    delays = [tuple(injection.draw(k, code.workers)) for k in range(DRAWS)]
    times = {late: iteration_s(code, costs, late) for late in set(delays)}
    return Taken(tuple(times[late] for late in delays), tuple(delays), costs)


def as_modelled(code: Code, real: Taken) -> Taken:
    """The same iterations in the model, with this machine's cores."""
    costs = replace(real.costs, cores=CORES)
    times = [iteration_s(code, costs, late) for late in real.delays_s]
    return Taken(tuple(times), real.delays_s, costs)

"""What stragglers cost MADDPG under each code (Wang et al. 2021, section V), as real iterations of
real workers and by the model.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.coded import Coded, Work, make_pool
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.maddpg_learner import MADDPGLearner
from covey.envs.make import EnvSource, make_environments
from covey.platform.coding.code import Code
from covey.platform.coding.model import Costs, iteration_s
from covey.platform.coding.stragglers import Injection
from covey.platform.coding.worker import Tasks
from covey.platform.errors import UserError
from covey.platform.runtime.crew import Crew, InlineCrew
from covey.platform.runtime.memory import keep_freed_memory
from covey.platform.runtime.threads import one_blas_thread

CODES = ("uncoded", "replication", "ldpc", "random-sparse", "mds", "mds-dense")
WORKERS = 15
CORES = len(os.sched_getaffinity(0))
DRAWS = 400
"""Sets of stragglers that the model's mean is taken over."""


@dataclass(frozen=True)
class Setting:
    """One comparison: an environment, its agents, how late stragglers are, and how many."""

    env: str
    agents: int
    delay_s: float
    stragglers: tuple[int, ...]


@dataclass(frozen=True)
class Cell:
    """A code with `stragglers` in every iteration. Seconds: measured (None: not run), and modelled
    with this machine's cores and with a core for each worker.
    """

    env: str
    agents: int
    delay_s: float
    code: str
    stragglers: int
    real_s: float | None
    spread_s: tuple[float, float] | None
    here_s: float
    wide_s: float

    def to_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def workers_of(code: str, agents: int) -> int:
    """The paper's 15 learners, of which uncoded uses one an agent."""
    return agents if code == "uncoded" else WORKERS


def work_of(setting: Setting, batch_size: int) -> tuple[Work, dict[str, NDArray[Any]]]:
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


class Timed:
    """Computes tasks for nothing but the time they take."""

    def __init__(self, make_tasks: Callable[[], Tasks]) -> None:
        one_blas_thread()
        keep_freed_memory()
        self._tasks = make_tasks()

    def task_s(self, snapshot: dict[str, NDArray[Any]], tasks: int, rounds: int) -> float:
        """Median seconds of one."""
        taken = []
        for number in range(rounds):
            began = time.perf_counter()
            self._tasks.compute(snapshot, number % tasks)
            taken.append(time.perf_counter() - began)
        return median(taken)


def task_s(
    work: Work, snapshot: dict[str, NDArray[Any]], make_crew: Callable[[], Crew] | None
) -> float:
    """Seconds of one agent's update on a core, while every core computes another; without a crew
    while the others rest.
    """
    crew, count = (InlineCrew(), 1) if make_crew is None else (make_crew(), CORES)
    try:
        clocks = [crew.spawn(f"timed {k}", Timed, work.make_tasks) for k in range(count)]
        for rounds in (1, 40):  # once for all of them to have started
            pending = [clock.submit("task_s", snapshot, work.tasks, rounds) for clock in clocks]
            taken = crew.fetch(pending)
    finally:
        crew.close()
    return float(np.mean(taken))


def modelled(code: Code, costs: Costs, stragglers: int, delay_s: float) -> float:
    """The mean over sets of stragglers."""
    injection = Injection(stragglers, delay_s)
    times = [iteration_s(code, costs, injection.draw(draw, code.workers)) for draw in range(DRAWS)]
    return float(np.mean(times))


def measured(
    coded: Coded,
    work: Work,
    snapshot: dict[str, NDArray[Any]],
    setting: Setting,
    rounds: int,
    crew: Crew,
) -> Iterator[tuple[int, list[float]]]:
    """Seconds of `rounds` real iterations for each number of stragglers."""
    pool = make_pool(coded, work, 0, crew, lambda kind, message: None)
    try:
        for _ in range(3):  # all workers have started, and touched their memory
            pool.injection = Injection()
            pool.iterate(snapshot)
        for stragglers in setting.stragglers:
            if stragglers <= pool.code.workers:
                pool.injection = Injection(stragglers, setting.delay_s)
                times = [pool.iterate(snapshot).metrics["iteration_s"] for _ in range(rounds)]
                yield stragglers, times
    finally:
        pool.close()


def compare(
    setting: Setting,
    codes: Sequence[str],
    rounds: int,
    make_crew: Callable[[], Crew] | None,
    batch_size: int = 1024,
) -> list[Cell]:
    """All codes in one setting; without a crew by the model alone."""
    work, snapshot = work_of(setting, batch_size)
    own_s = task_s(work, snapshot, make_crew)
    cells: list[Cell] = []
    for name in codes:
        coded = Coded(code=name, workers=workers_of(name, setting.agents))  # type: ignore[arg-type]
        try:
            code = coded.make(setting.agents, 0)
        except UserError:
            continue  # ldpc has few shapes
        real: dict[int, list[float]] = {}
        if make_crew is not None:
            crew = make_crew()
            try:
                real = dict(measured(coded, work, snapshot, setting, rounds, crew))
            finally:
                crew.close()
        for stragglers in setting.stragglers:
            if stragglers > code.workers:
                continue
            taken = sorted(real.get(stragglers, []))
            here, wide = (
                modelled(code, Costs(own_s, cores=n), stragglers, setting.delay_s)
                for n in (CORES, None)
            )
            cells.append(
                Cell(
                    setting.env,
                    setting.agents,
                    setting.delay_s,
                    name,
                    stragglers,
                    median(taken) if taken else None,
                    (taken[0], taken[-1]) if taken else None,
                    here,
                    wide,
                )
            )
    return cells


def verdict(cells: Sequence[Cell]) -> list[str]:
    """Which code is fastest with how many stragglers, by the model with a core for each worker."""
    lines = []
    settings = {(cell.env, cell.agents, cell.delay_s) for cell in cells}
    for env, agents, delay_s in sorted(settings):
        own = [c for c in cells if (c.env, c.agents, c.delay_s) == (env, agents, delay_s)]
        parts = []
        for stragglers in sorted({cell.stragglers for cell in own}):
            rivals = [cell for cell in own if cell.stragglers == stragglers]
            best = min(rivals, key=lambda cell: cell.wide_s)
            parts.append(f"{stragglers}: {best.code}")
        lines.append(
            f"{env}, {agents} agents, {delay_s:g} s late: fastest with so many stragglers is "
            + ", ".join(parts)
        )
    return lines

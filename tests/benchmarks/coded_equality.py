"""That a coded update is the centralised one, through real pools with random stragglers.

    python tests/benchmarks/coded_equality.py [--agents 8] [--iterations 200]
        [--out coded-equality.png]

MADDPG's updates for 8 or 10 agents by 15 Ray actors, or for 3 by 6, as many stragglers in each
iteration as the code can do without. First every iteration from the centralised run's snapshot: the
largest difference, relative to the largest number, is at most 1e-10. Then each run goes on from its
own results: with uncoded, replication and the exact codes all weights are bit for bit the
centralised ones at the end; for the others the picture shows how the difference grows. One JSON
object; exit status 1 where that does not hold.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.coded import Coded, Inject
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.maddpg_learner import MADDPGLearner, as_rows
from covey.algorithms.study.command import private_ray
from covey.algorithms.study.measure import Arrays, pool_of
from covey.envs.make import EnvSource, make_environments
from covey.platform.coding.pool import CodedPool
from covey.platform.environment import prepare_libraries
from covey.platform.runtime.crew import Crew
from covey.platform.runtime.threads import one_blas_thread

WORKERS = {3: 6, 8: 15, 10: 15}
"""For so many agents."""
DELAY_S = 0.01
NAMES = ("uncoded", "replication", "mds", "mds-dense", "random-sparse", "ldpc")
EXACT = ("mds", "ldpc")
Rows = NDArray[Any]


class Case:
    """The updates of some small agents, from minibatches of noise."""

    def __init__(self, agents: int) -> None:
        one_blas_thread()
        self.agents = agents
        config = MADDPGConfig(name="maddpg", batch_size=64, hidden=(16, 16), learning_rate=1e-3)
        spaces = make_environments(EnvSource("simple_spread", agents=agents), 1, 0, 0).spaces
        self.learner = MADDPGLearner(config, spaces, 0, 1)
        self.work = self.learner.work()
        self.tasks = self.work.make_tasks()

    def snapshots(self, iterations: int) -> Iterator[Arrays]:
        """All but the rows."""
        generator = np.random.default_rng(1)
        for number in range(iterations):
            batch = {name: np.array(array) for name, array in self.work.template.items()}
            for name in ("observations", "next_observations", "rewards"):
                batch[name][...] = generator.standard_normal(batch[name].shape)
            shape = batch["actions"].shape
            batch["actions"][...] = np.eye(shape[-1])[generator.integers(shape[-1], size=shape[:2])]
            yield {**batch, "number": np.array([number])}

    def central(self, snapshot: Arrays) -> Rows:
        """All agents' next rows, computed here."""
        return np.stack([self.tasks.compute(snapshot, agent) for agent in range(self.agents)])

    def start(self) -> Rows:
        """The rows of new agents."""
        return np.array(self.work.template["rows"])


def same_snapshot(case: Case, pool: CodedPool, iterations: int) -> float:
    """The largest difference from the centralised update."""
    rows, worst = case.start(), 0.0
    for batch in case.snapshots(iterations):
        snapshot = {**batch, "rows": rows}
        rows = case.central(snapshot)
        found = pool.iterate(snapshot).values
        worst = max(worst, float(np.abs(found - rows).max() / np.abs(rows).max()))
    return worst


def free_running(case: Case, pool: CodedPool, iterations: int) -> list[float]:
    """The difference from the centralised run after each iteration, relative likewise."""
    own, rows = case.start(), case.start()
    grown: list[float] = []
    for batch in case.snapshots(iterations):
        rows = case.central({**batch, "rows": rows})
        own = as_rows(pool.iterate({**batch, "rows": own}).values, case.learner.row)
        grown.append(float(np.abs(own - rows).max() / np.abs(rows).max()))
    return grown


def draw(grown: dict[str, list[float]], path: Path) -> None:
    """How the differences grow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    panel = figure.subplots()
    for name, differences in grown.items():
        if any(differences):
            panel.semilogy(range(1, len(differences) + 1), differences, label=name)
    panel.axhline(2**-24, color="grey", linestyle=":", label="half a unit of float32")
    same = ", ".join(name for name, differences in grown.items() if not any(differences))
    panel.set_title(f"Free-running coded MADDPG against the centralised run\nno bit apart: {same}")
    panel.set_xlabel("iteration")
    panel.set_ylabel("largest relative difference")
    panel.legend(fontsize="small")
    panel.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def one(
    name: str, exact: bool, case: Case, iterations: int, make_crew: Callable[[], Crew]
) -> tuple[float, list[float]]:
    """Both comparisons under one code."""
    agents = case.agents
    workers = {"uncoded": agents, "replication": 2 * agents}.get(name, WORKERS[agents])
    plain = Coded(code=name, workers=workers)  # type: ignore[arg-type]
    inject = Inject(stragglers=plain.make(agents, 0).tolerance, delay_s=DELAY_S)
    coded = plain.model_copy(update={"inject": inject, "exact": exact})
    with pool_of(coded, case.work, make_crew) as pool:
        return same_snapshot(case, pool, iterations), free_running(case, pool, iterations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, choices=list(WORKERS), default=8)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("coded-equality.png"))
    arguments = parser.parse_args()
    prepare_libraries()
    case = Case(arguments.agents)
    worst: dict[str, float] = {}
    grown: dict[str, list[float]] = {}
    with private_ray() as make_crew:
        for name, exact in [*((name, False) for name in NAMES), *((name, True) for name in EXACT)]:
            told = f"{name}, exact" if exact else name
            worst[told], grown[told] = one(name, exact, case, arguments.iterations, make_crew)
            print(told, worst[told], grown[told][-1], file=sys.stderr, flush=True)
    draw(grown, arguments.out)
    exactly = ("uncoded", "replication", *(f"{name}, exact" for name in EXACT))
    held = {
        "same snapshot": all(error <= 1e-10 for error in worst.values()),
        "bit for bit": not any(any(grown[told]) for told in exactly),
    }
    last = {told: differences[-1] for told, differences in grown.items()}
    print(json.dumps({"same_snapshot": worst, "free_running": last, "held": held}, indent=2))
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()

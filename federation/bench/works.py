"""The pieces of federated work that everybody is measured on, all on MNIST."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.jobfile.nearest import nearest

MESSAGES = "messages"
"""The one that trains nothing: what a message costs. Measured only when asked for."""
DATA = "mnist"
SEED = 7


@dataclass(frozen=True)
class Work:
    """A built-in app, the clients it runs on, and what they do in a round; `local` and `partition`
    are those of a job file.
    """

    app: str
    title: str
    clients: int
    cohort: int
    local: Mapping[str, Any]
    partition: Mapping[str, Any]
    rounds: int
    without: tuple[str, ...] = ()
    """Contenders that have no such model."""
    data: str = DATA

    def job(self, engine: str, rounds: int, cpus: int) -> dict[str, Any]:
        """The job that Covey runs, as plain data; the model is tested after the last round only."""
        return {
            "name": f"bench-{self.app}",
            "workload": "federated",
            "seed": SEED,
            "resources": {"cpus": cpus},
            "stop": {"rounds": rounds},
            "federated": {
                "app": self.app,
                "engine": engine,
                "clients": self.clients,
                "cohort": self.cohort,
                "data": {"name": self.data, "partition": dict(self.partition)},
                "local": dict(self.local),
                "evaluate_every": rounds,
                "viewer": {"every_s": None},
            },
        }

    def parsed(self, engine: str, rounds: int, cpus: int) -> JobFile:
        """The same, checked."""
        return parse_job_file(self.job(engine, rounds, cpus), Path.cwd(), "bench")


WORKS = {
    work.app: work
    for work in (
        Work(
            app="logistic",
            title="logistic regression, 1,000 clients of 60 images, 10 a round, 1 epoch, batch 10",
            clients=1000,
            cohort=10,
            local={"epochs": 1, "batch_size": 10, "learning_rate": 0.1},
            partition={"kind": "iid"},
            rounds=100,
        ),
        Work(
            app="mlp",
            title="784-128-10, 100 clients at Dirichlet 0.1, 10 a round, 20 steps of batch 32",
            clients=100,
            cohort=10,
            local={"steps": 20, "batch_size": 32, "learning_rate": 0.05},
            partition={"kind": "dirichlet", "alpha": 0.1},
            rounds=30,
        ),
        Work(
            app="cnn",
            title="two convolutions, two linear layers, 10 clients, all a round, 1 epoch, batch 32",
            clients=10,
            cohort=10,
            local={"epochs": 1, "batch_size": 32, "learning_rate": 0.05},
            partition={"kind": "iid"},
            rounds=3,
            without=("hand-written", "fedjax"),
        ),
    )
}


def chosen_works(names: str | None) -> tuple[str, ...]:
    """The works named, with commas between them, or all that train; UserError for one that is not
    known.
    """
    known = (*WORKS, MESSAGES)
    chosen = tuple(dict.fromkeys(name.strip() for name in (names or "").split(",") if name.strip()))
    for name in chosen:
        if name not in known:
            near = nearest(name, known)
            raise UserError(
                f"no work is called {name!r}; known: {', '.join(known)}"
                + (f"; nearest: {near}" if near else "")
            )
    return chosen or tuple(WORKS)

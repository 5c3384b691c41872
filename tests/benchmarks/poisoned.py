"""What one client in ten with a scaled update does to the mean, and to strategies that bear it.

    python tests/benchmarks/poisoned.py [--seeds 3] [--rounds 20] [--factor -20] [--plot curves.png]

The poisoned client trains honestly, then sends the model it got plus `factor` times what it has
learnt. Digits, ten clients, all in every round. One JSON object: accuracy by round for each
strategy and seed, poisoned and not. Exit status 1 unless at the end the poisoned mean is more than
20 points below the honest one, and every other strategy within 5 points of itself with nobody
poisoned (medians over the seeds).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp import ClientApp

from covey.federation.apps import client_app
from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

POISONED = 3
"""The number of the client."""
MEAN = "fedavg"
STRATEGIES: dict[str, dict[str, Any]] = {
    MEAN: {"name": MEAN},
    "krum": {"name": "krum", "malicious": 1},
    "multi-krum": {"name": "multi-krum", "malicious": 1},
    "median": {"name": "median"},
    "trimmed-mean": {"name": "trimmed-mean", "beta": 0.1},
    "bulyan": {"name": "bulyan", "malicious": 1},
}
HONEST = client_app.app


class Poisoning(ClientApp):
    """The built-in client, one of which lies."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def __call__(self, message: Message, context: Context) -> Message:
        got = {name: array.numpy() for name, array in message.content["arrays"].items()}
        reply = HONEST(message, context)
        if context.node_config["partition-id"] == POISONED:
            reply.content["arrays"] = ArrayRecord(
                {
                    name: Array(got[name] + self._factor * (array.numpy() - got[name]))
                    for name, array in reply.content["arrays"].items()
                }
            )
        return reply


def curve(strategy: dict[str, Any], factor: float, seed: int, rounds: int) -> list[float]:
    """The global model's accuracy before the first round and after each."""
    section = {
        "app": "mlp",
        "data": {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 1.0}},
        "clients": 10,
        "local": {"epochs": 2, "batch_size": 16, "learning_rate": 0.1},
        "strategy": strategy,
    }
    job = {"name": "poisoned", "workload": "federated", "seed": seed, "federated": section}
    client_app.app = Poisoning(factor)
    with tempfile.TemporaryDirectory() as folder:
        parsed = parse_job_file({**job, "stop": {"rounds": rounds}}, Path(folder))
        path = RunFolder.create(Path(folder, "run"), parsed).path
        outcome = run_attempt(path)
        if outcome.error is not None:
            sys.exit(f"{strategy['name']}: {outcome.error}")
        lines = (path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["accuracy"] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--factor", type=float, default=-20.0)
    parser.add_argument("--plot", type=Path, default=None)
    told = parser.parse_args()
    seeds = range(told.seeds)
    honest, poisoned = (
        {
            name: [curve(strategy, factor, seed, told.rounds) for seed in seeds]
            for name, strategy in STRATEGIES.items()
        }
        for factor in (1.0, told.factor)
    )
    curves = {f"{MEAN}, nobody poisoned": honest[MEAN], **poisoned}
    loss = {
        name: median(one[-1] for one in honest[name]) - median(one[-1] for one in poisoned[name])
        for name in STRATEGIES
    }
    held = {name: loss[name] < 0.05 for name in STRATEGIES if name != MEAN}
    held["the mean is ruined"] = loss[MEAN] > 0.2
    if told.plot is not None:
        draw(curves, told.plot)
    found = {"factor": told.factor, "loss": loss, "held": held}
    print(json.dumps({**found, "honest": honest, "poisoned": poisoned}))
    sys.exit(0 if all(held.values()) else 1)


def draw(curves: dict[str, list[list[float]]], file: Path) -> None:
    """Means over the seeds, with their range."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, own in curves.items():
        values = np.array(own)
        rounds = range(values.shape[1])
        (line,) = axes.plot(rounds, values.mean(0), label=name)
        axes.fill_between(
            rounds, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, lw=0
        )
    axes.set(xlabel="round", ylabel="accuracy on the test set", ylim=(0, 1))
    axes.set_title("one client of ten sends a scaled update")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()

"""What SCAFFOLD, FedProx and FedAdam gain over FedAvg where clients differ: Dirichlet 0.1.

    python tests/benchmarks/strategies.py [--seeds 5] [--rounds 100] [--data mnist|digits]

MNIST when it is on this machine, else digits. A seed gives all four the same partition, the same
first model and the same cohorts. Prints one JSON object: for each strategy the accuracy of each
seed (the mean of the last tenth of the rounds), its gain over FedAvg with the same seed, and the
chance of such a gain were there none (one-sided paired t-test). Exit status 1 unless SCAFFOLD
gains, with a chance below 5 %.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from covey.federation.data import missing_data
from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {"name": "fedavg"},
    "scaffold": {"name": "scaffold"},
    "fedprox": {"name": "fedprox", "mu": 0.1},
    "fedadam": {"name": "fedadam", "server_learning_rate": 0.01},
}
CLIENTS = {"mnist": (100, 20), "digits": (20, 10)}  # in all, and in a round


def accuracy(data: str, strategy: dict[str, Any], seed: int, rounds: int, folder: Path) -> float:
    """Of the model on the test set: the mean of the last tenth of the rounds."""
    clients, cohort = CLIENTS[data]
    section = {
        "app": "mlp",
        "data": {"name": data, "partition": {"kind": "dirichlet", "alpha": 0.1}},
        "clients": clients,
        "cohort": cohort,
        "local": {"steps": 20, "batch_size": 32, "learning_rate": 0.05},
        "strategy": strategy,
    }
    job = {"name": "strategies", "workload": "federated", "seed": seed, "federated": section}
    stop = {"stop": {"rounds": rounds}, "checkpoint": {"every_rounds": rounds}}
    path = RunFolder.create(folder, parse_job_file({**job, **stop}, folder.parent)).path
    outcome = run_attempt(path)
    if outcome.state != "succeeded":
        raise SystemExit(f"{strategy['name']}, seed {seed}: {outcome.state}, {outcome.error}")
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    last = [line["accuracy"] for line in lines if line["step"] > rounds - max(1, rounds // 10)]
    return float(np.mean(last))


def compared(found: dict[str, list[float]]) -> dict[str, Any]:
    """Each strategy beside FedAvg, seed by seed."""
    report = {}
    for name, values in found.items():
        gains = np.subtract(values, found["fedavg"])
        chance = ttest_rel(values, found["fedavg"], alternative="greater").pvalue
        report[name] = {"accuracy": values, "mean": float(np.mean(values))}
        if name != "fedavg":
            report[name] |= {"gain": float(gains.mean()), "chance": float(chance)}
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--data", choices=CLIENTS, default=None)
    told = parser.parse_args()
    data = told.data or ("digits" if missing_data("mnist") else "mnist")
    found: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(told.seeds):
            for name, strategy in STRATEGIES.items():
                run = Path(folder, f"{name}-{seed}")
                found[name].append(accuracy(data, strategy, seed, told.rounds, run))
                print(f"seed {seed} {name}: {found[name][-1]:.4f}", file=sys.stderr, flush=True)
    report = compared(found)
    print(json.dumps({"data": data, "rounds": told.rounds, "strategies": report}, indent=2))
    scaffold = report["scaffold"]
    return 0 if scaffold["gain"] > 0 and scaffold["chance"] < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())

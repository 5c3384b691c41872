"""What SCAFFOLD, FedProx and FedAdam gain over FedAvg where clients differ: Dirichlet 0.1.

    python tests/benchmarks/strategies.py [--seeds 5] [--rounds 100] [--data mnist|digits]

MNIST when it is on this machine, else digits. A seed gives all four the same partition, the same
first model and the same cohorts. Prints one JSON object: figures of each seed, what each strategy
gains over FedAvg with the same seed, and the chance of such a gain were there none (one-sided
paired t-test). Exit status 1 unless every claim has a chance below 5 %: SCAFFOLD ends higher;
FedProx goes up and down less from round to round (Li et al. 2020, section 5.2); FedAdam is higher
over the rounds as a whole, for it is faster (Reddi et al. 2021, section 5).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from covey.federation.data import missing_data
from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {"name": "fedavg"},
    "scaffold": {"name": "scaffold"},
    "fedprox": {"name": "fedprox", "mu": 1.0},
    "fedadam": {"name": "fedadam", "server_learning_rate": 0.01},
}
Curve = NDArray[np.float64]
CLIENTS = {"mnist": (100, 20), "digits": (20, 10)}  # in all, and in a round


FIGURES: dict[str, Callable[[Curve], float]] = {
    "end": lambda curve: float(curve[-max(1, len(curve) // 10) :].mean()),
    "steadiness": lambda curve: -float(np.abs(np.diff(curve[len(curve) // 2 :])).mean()),
    "whole": lambda curve: float(curve.mean()),
}
"""Of the accuracy by round: of the last tenth; how little it changes in the second half; of all."""
CLAIMS = {"scaffold": "end", "fedprox": "steadiness", "fedadam": "whole"}


def accuracies(data: str, strategy: dict[str, Any], seed: int, rounds: int, folder: Path) -> Curve:
    """Of the global model on the test set after each round."""
    clients, cohort = CLIENTS[data]
    section = {
        "app": "mlp",
        "engine": "cohort",
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
    return np.array([line["accuracy"] for line in lines if line["step"] > 0])


def compared(curves: dict[str, list[Curve]]) -> dict[str, Any]:
    """Each strategy beside FedAvg, seed by seed."""
    report: dict[str, Any] = {}
    for name, own in curves.items():
        report[name] = {}
        for figure, of in FIGURES.items():
            values, plain = [of(one) for one in own], [of(one) for one in curves["fedavg"]]
            found = {"seeds": values, "mean": float(np.mean(values))}
            if name != "fedavg":
                chance = ttest_rel(values, plain, alternative="greater").pvalue
                found |= {"gain": float(np.subtract(values, plain).mean()), "chance": float(chance)}
            report[name][figure] = found
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--data", choices=CLIENTS, default=None)
    told = parser.parse_args()
    data = told.data or ("digits" if missing_data("mnist") else "mnist")
    curves: dict[str, list[Curve]] = {name: [] for name in STRATEGIES}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(told.seeds):
            for name, strategy in STRATEGIES.items():
                run = Path(folder, f"{name}-{seed}")
                curves[name].append(accuracies(data, strategy, seed, told.rounds, run))
                figures = {figure: round(of(curves[name][-1]), 4) for figure, of in FIGURES.items()}
                print(f"seed {seed} {name}: {figures}", file=sys.stderr, flush=True)
    report = compared(curves)
    held = {name: report[name][figure]["chance"] < 0.05 for name, figure in CLAIMS.items()}
    found = {"data": data, "rounds": told.rounds, "held": held, "strategies": report}
    print(json.dumps(found, indent=2))
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What peers cost in one process: time of consensus, time of a whole run, memory of 1,000 peers.

    python tests/benchmarks/peers.py [--rounds 50]

`deploy/jobs/mnist-p2pl.yaml` (100 peers, 784-64-10, Erdos-Renyi 0.1, 5 steps of batch 10) on two
cores, samples at random. Prints one JSON object: milliseconds of the local steps and of consensus,
medians of rounds in which one follows the other, and the ratio of both to the first; seconds of
training of a run that is evaluated every 5 rounds; the greatest resident size of a process that
trains 1,000 peers on a ring, checkpoint and pictures with it. Exit status 1 unless the ratio is
below 1.3, the run below 60 s, the size below 2 GiB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from covey.federation.p2p.rounds import Schedule, make_method
from covey.federation.p2p.task import Task
from covey.federation.p2p.training import Trainer
from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import load_job_file
from covey.platform.runs.folder import RunFolder
from covey.platform.runtime.memory import keep_freed_memory

JOB = Path(__file__).parents[2] / "deploy" / "jobs" / "mnist-p2pl.yaml"
SET = ["peer-to-peer.data={name: mnist}", "stop.rounds="]
RING = ["peer-to-peer.peers=1000", "peer-to-peer.topology={kind: ring}"]


def overrides(rounds: int) -> list[str]:
    return [SET[0], f"{SET[1]}{rounds}"]


def phases(rounds: int) -> dict[str, float]:
    """Median milliseconds of the two halves of a round."""
    keep_freed_memory()
    torch.set_num_threads(2)
    task = Task.of(load_job_file(JOB, overrides(rounds)))
    peers = range(task.section.peers)
    schedule, trainer = Schedule(task.section, task.seed, task.sizes), Trainer(task, peers)
    params = np.stack([task.first(peer) for peer in peers])
    links = schedule.links(1)
    method = make_method(task.section, params, links, task.seed)
    spent = []
    for round_ in range(1, rounds + 1):
        began = time.perf_counter()
        trainer.train(method.params, round_, method.pull())
        trained = time.perf_counter()
        method.receive(method.send(links, round_), links, round_)
        spent.append((trained - began, time.perf_counter() - trained))
    local, consensus = np.median(spent, axis=0) * 1000
    return {"local_ms": local, "consensus_ms": consensus, "ratio": 1 + consensus / local}


def run(folder: Path, words: list[str]) -> float:
    """Seconds of training of a whole run."""
    job = load_job_file(JOB, words)
    path = RunFolder.create(folder / job.name, job).path
    outcome = run_attempt(path)
    assert outcome.error is None, outcome.error
    return float(json.loads((path / "result.json").read_text())["wall_s"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--ring", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.ring:
            run(Path(folder), [*overrides(5), *RING])
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
            return 0
        found = {**phases(asked.rounds), "run_s": run(Path(folder), overrides(asked.rounds))}
    child = subprocess.run(
        [sys.executable, __file__, "--ring"], capture_output=True, text=True, check=True
    )
    found["ring_gib"] = float(child.stdout.split()[-1])
    print(json.dumps(found, indent=1))
    return int(found["ratio"] >= 1.3 or found["run_s"] >= 60 or found["ring_gib"] >= 2)


if __name__ == "__main__":
    sys.exit(main())

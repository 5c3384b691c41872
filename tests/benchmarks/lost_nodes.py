"""Kill a node of samplers, the learner's node and the head under two jobs, and see them end well.

    python tests/benchmarks/lost_nodes.py [--steps 200000] [--rounds 1500]

A Ray cluster of a head without CPUs and two nodes on this machine. First PPO on CartPole-v1 and
federated averaging on handwritten digits with seeds 1, 2 and 3, undisturbed; then both with seed 1,
while `kill -9` ends the node of a sampler, then the learner's, then the head, each with all its
processes. A new node takes the place of each. Two JSON objects: how the jobs ended undisturbed, and
how under kills, with the time until PPO told of more steps. Exit status 1 unless both succeed once,
within the range of the three undisturbed runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

LIMIT_S = 900.0
KILLS_AT = (0.2, 0.4, 0.6)
"""Parts of PPO's steps."""


def jobs(steps: int, rounds: int, seed: int) -> dict[str, dict[str, Any]]:
    common = {
        "seed": seed,
        "retries": {"max_attempts": 6, "backoff_s": 1},
        "checkpoint": {"every_s": 5},
    }
    rl = {
        "algorithm": {"name": "ppo"},
        "env": {"id": "CartPole-v1"},
        "sampling": {"samplers": 2, "envs_per_sampler": 8},
    }
    federated = {
        "app": "mlp",
        "engine": "actors",
        "data": {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.5}},
        "clients": 20,
        "cohort": 10,
        "local": {"epochs": 2, "batch_size": 16, "learning_rate": 0.1},
    }
    return {
        "ppo": common
        | {"name": f"ppo-{seed}", "workload": "rl", "resources": {"cpus": 4}, "rl": rl}
        | {"stop": {"env_steps": steps}},
        "fedavg": common
        | {"name": f"fedavg-{seed}", "workload": "federated", "resources": {"cpus": 2}}
        | {"federated": federated, "stop": {"rounds": rounds}},
    }


METRICS = {"ppo": "episode_return_mean", "fedavg": "accuracy"}


class Place:
    """A cluster, a scheduler for it, and what they have to say."""

    def __init__(self, home: Path) -> None:
        from ray_nodes import RayNodes

        from covey.platform.client import Client

        self.home = home
        self.nodes = RayNodes(home)
        for name in ("one", "two"):
            self.nodes.add(name, 3)
        self.client = Client(home)
        command = [sys.executable, "-m", "covey.platform.jobs.daemon", "--home", str(home)]
        with (home / "scheduler.log").open("wb") as log:
            self.scheduler = subprocess.Popen(
                [*command, "--address", self.nodes.address], stdout=log, stderr=log
            )

    def close(self) -> None:
        self.scheduler.terminate()
        self.scheduler.wait()
        self.client.close()
        self.nodes.close()

    def figures(self, job_id: str) -> dict[str, float]:
        """The last that a job told."""
        file = Path(self.client.show(job_id).run_dir) / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        told: dict[str, float] = json.loads(lines[-1]) if lines else {"step": -1}
        return told

    def node_of(self, role: str) -> Any:
        """A node on which a worker of that role lives; None while there is none."""
        return next((node for node in self.nodes.nodes if self.lives_on(node, role)), None)

    def lives_on(self, node: Any, role: str) -> bool:
        for process in psutil.process_iter():
            try:
                ours = os.getpgid(process.pid) == node.process.pid
                if ours and process.cmdline()[0].startswith(f"ray::{role}"):
                    return True
            except (psutil.Error, ProcessLookupError, IndexError):
                continue
        return False

    def until(self, condition: Callable[[], object]) -> None:
        end_s = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end_s:
                raise TimeoutError((self.home / "scheduler.log").read_text()[-3000:])
            time.sleep(0.25)

    def have_ended(self, job_ids: list[str]) -> bool:
        return all(str(self.client.show(one).state) in ("succeeded", "failed") for one in job_ids)


def undisturbed(place: Place, options: argparse.Namespace) -> dict[str, list[float]]:
    """The final figures of three seeds."""
    found: dict[str, list[float]] = {}
    ids = {
        (kind, seed): place.client.submit(job)
        for seed in (1, 2, 3)
        for kind, job in jobs(options.steps, options.rounds, seed).items()
    }
    place.until(lambda: place.have_ended(list(ids.values())))
    for (kind, _), job_id in ids.items():
        found.setdefault(kind, []).append(place.figures(job_id)[METRICS[kind]])
    return found


def disturbed(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    ids = {
        kind: place.client.submit(job)
        for kind, job in jobs(options.steps, options.rounds, 1).items()
    }
    killed: list[dict[str, Any]] = []

    def step() -> float:
        return place.figures(ids["ppo"])["step"]

    for number, part in enumerate(KILLS_AT):
        place.until(lambda part=part: step() >= part * options.steps)  # type: ignore[misc]
        node = victim(place, number)
        before = step()
        node.kill()
        began = time.monotonic()
        if number == 2:
            place.nodes.start_head()
            place.nodes.add("last", 3)
        place.nodes.add(f"new{number}", 3)
        place.until(lambda before=before: step() > before)  # type: ignore[misc]
        killed.append({"node": node.name, "goes_on_after_s": round(time.monotonic() - began, 1)})
    place.until(lambda: place.have_ended(list(ids.values())))
    ended = {}
    for kind, job_id in ids.items():
        job = place.client.show(job_id)
        final = place.figures(job_id)[METRICS[kind]]
        reasons = [attempt.reason for attempt in job.attempts]
        ended[kind] = {"state": str(job.state), "attempts": reasons, "final": final}
    return {"killed": killed, "jobs": ended}


def victim(place: Place, number: int) -> Any:
    """A node with a sampler but not the learner; the learner's; the head."""
    if number == 2:
        return next(n for n in reversed(place.nodes.nodes) if n.name.startswith("head"))
    place.until(lambda: place.node_of("learner"))
    learners = place.node_of("learner")
    if number == 1:
        return learners
    others = [n for n in place.nodes.nodes if n is not learners and not n.name.startswith("head")]
    return others[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=1_500)
    options = parser.parse_args()
    with home() as folder:
        place = Place(folder)
        try:
            ranges = undisturbed(place, options)
            print(json.dumps({"undisturbed": ranges}), flush=True)
            found = disturbed(place, options)
        finally:
            place.close()
    print(json.dumps(found))
    good = all(
        one["state"] == "succeeded"
        and sum(reason.endswith("reached") for reason in one["attempts"]) == 1
        and min(ranges[kind]) <= one["final"] <= max(ranges[kind])
        for kind, one in found["jobs"].items()
    )
    return int(not good)


@contextmanager
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COVEY_HOME"] = folder
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())

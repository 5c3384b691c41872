"""How far MADDPG comes on simple_spread, from random actions to a scripted controller.

    python tests/benchmarks/spread_maddpg.py [--seeds 3] [--job deploy/jobs/spread-maddpg.yaml]

Each seed is a `covey run` of its own, whose newest policy then plays 1,000 episodes. The controller
sends each agent to the landmark that an assignment of least distance gives it (Hungarian method,
anew in each step), with full thrust along the longer axis. Prints one JSON object; exit status 1
unless every seed comes at least 80 % of the way within ten minutes, start and end included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from covey.envs.particles.environments import ParticleEnv
from covey.envs.source import EnvSource
from covey.envs.world import Outcome

AGENTS, WORLDS, EPISODES = 3, 1000, 1000
BAR, LIMIT_S = 0.8, 600.0
NEAR = 0.05
"""An agent this close to its landmark, along both axes, thrusts no more."""

Actions = NDArray[np.int64]


def mean_return(choose: Callable[[ParticleEnv], Actions]) -> float:
    """Of one episode in each world, per agent."""
    env = ParticleEnv(EnvSource("simple_spread", agents=AGENTS), WORLDS, 0, 1)
    row = Outcome.allocate(env.count, env.spaces)
    env.reset(row.observations)
    total = 0.0
    while not row.truncated.any():
        outcome = row.rewards, row.terminated, row.truncated, row.valid
        env.step(choose(env), row.observations, *outcome)
        total += float(row.rewards.mean())
    return total


def assigned(env: ParticleEnv) -> Actions:
    """Full thrust of each agent towards the landmark that is its own."""
    bodies = env.scenario.bodies
    agents, landmarks = bodies.of_agents, bodies.of_landmarks
    ways = landmarks[:, None] - agents[:, :, None]  # [W, agent, landmark, 2]
    lengths = np.linalg.norm(ways, axis=3)
    own = np.array([linear_sum_assignment(world)[1] for world in lengths])
    ways = np.take_along_axis(ways, own[:, :, None, None], axis=2)[:, :, 0]
    x, y = ways[..., 0], ways[..., 1]
    actions = np.where(abs(x) > abs(y), np.where(x < 0, 1, 2), np.where(y < 0, 3, 4))
    return np.where(np.maximum(abs(x), abs(y)) < NEAR, 0, actions).reshape(-1)


def learnt(job: Path, seed: int, folder: Path) -> dict[str, Any]:
    """The mean return of one seed's policy, and the seconds of its whole process."""
    covey = [sys.executable, "-m", "covey.platform.cli"]
    command = [*covey, "run", str(job), "--set", f"seed={seed}", "--run-dir", str(folder), "--json"]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    process_s = time.monotonic() - began
    command = [*covey, "evaluate", str(folder), "--episodes", str(EPISODES), "--json"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"return": json.loads(told)["episode_return_mean"], "process_s": process_s}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", type=Path, default=Path("deploy/jobs/spread-maddpg.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    told = parser.parse_args()
    generator = np.random.default_rng(0)
    random = mean_return(lambda env: generator.integers(5, size=env.count))
    controller = mean_return(assigned)
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(told.seeds):
            found = learnt(told.job, seed, Path(folder, str(seed)))
            seeds.append({**found, "way": (found["return"] - random) / (controller - random)})
            print(json.dumps(seeds[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"random": random, "controller": controller, "seeds": seeds}))
    held = all(one["way"] >= BAR and one["process_s"] <= LIMIT_S for one in seeds)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

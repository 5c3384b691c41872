"""Update frame rate of one learner and of two, a torch thread each, on two cores.

    python tests/benchmarks/learners.py [--rounds 7] [--seconds 1] [--batch 8192] [--only sac,ppo]

SAC with two layers of 256, on random transitions of HalfCheetah's shape, and PPO with its default
networks and with two layers of 256. One learner and the group take turns; while one works the other
process of the group waits for an order. One JSON object: transitions in gradient steps a second,
medians and extremes over the rounds, the ratios and their median, and what share of its time
the first of two learners spends on adding up, waiting for the other one included. Exit status 1
unless every median reaches 1.6.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from covey.algorithms.joined_group import JoinedGroup
from covey.algorithms.learner_group import Alone
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.ppo_learner import PPOLearner
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_learner import SACLearner
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec
from covey.platform.runtime.threads import one_blas_thread

SEEN, ACTING, COLUMNS = 17, 6, 64
SPACES = Spaces(
    ObservationSpec("numeric", (SEEN,), "float32"),
    ActionSpec("continuous", (ACTING,), "float32", low=(-1.0,) * ACTING, high=(1.0,) * ACTING),
)
BAR = 1.6


class Timed:
    """A group that notes for how long it adds up, the waiting for the others included."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self.rank, self.count = group.rank, group.count
        self.seconds = 0.0

    def sum(self, *tensors: torch.Tensor) -> None:
        began = time.perf_counter()
        self._group.sum(*tensors)
        self.seconds += time.perf_counter() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._group, name)


def fill(rows: Rows) -> None:
    """With random transitions."""
    generator = np.random.default_rng(0)
    rows.observations[:] = generator.standard_normal(rows.observations.shape, np.float32)
    rows.actions[:] = generator.uniform(-1, 1, rows.actions.shape)
    rows.rewards[:] = generator.standard_normal(rows.rewards.shape, np.float32)
    rows.logp[:] = -6.0
    rows.valid[:] = True


class Sac:
    """Gradient steps of SAC from a full ring."""

    def __init__(self, batch: int) -> None:
        self.learner = SACLearner(SACConfig(name="sac", batch_size=batch), SPACES, 0, 1)
        spec = StreamSpec(64, 64, COLUMNS, SPACES, overwrite=True)
        stream = Stream.create(spec, shared=False)
        stream.permit(64)
        while (rows := stream.begin()) is not None:
            fill(rows)
            stream.commit(Episodes(np.empty(0), np.empty(0, np.int64)), 0, 0.0)
        self._replay, self._batch = self.learner.memory.open([stream], []), batch

    def step(self) -> int:
        """The transitions learnt from."""
        self.learner.update(self._replay)
        return self._batch


class Ppo:
    """Updates of PPO from a rollout of one minibatch, ten epochs each."""

    def __init__(self, batch: int, hidden: tuple[int, ...]) -> None:
        config = PPOConfig(name="ppo", minibatch_size=batch, hidden=hidden)
        self.learner = PPOLearner(config, SPACES, 0, 1)
        rows = Rows.allocate(batch // COLUMNS, COLUMNS, SPACES)
        fill(rows)
        rows.terminated[:] = rows.truncated[:] = False
        ended = Episodes(np.empty(0), np.empty(0, np.int64))
        self._fragment = Fragment(rows, ended, 0, 0.0, 0.0)

    def step(self) -> int:
        """The transitions learnt from."""
        return int(self.learner.update(0.0, self._fragment)["frames"])


def contenders(batch: int) -> dict[str, Any]:
    """What is measured, by name."""
    return {
        "sac": lambda: Sac(batch),
        "ppo": lambda: Ppo(batch, (64, 64)),
        "ppo 2x256": lambda: Ppo(batch, (256, 256)),
    }


def follow(folder: str, name: str, batch: int) -> None:
    """The second learner's process."""
    one_blas_thread()
    torch.set_num_threads(1)
    learner = contenders(batch)[name]().learner
    learner.join(JoinedGroup(Path(folder), 1, 2))
    while True:
        learner.take_part()


def rate(work: Sac | Ppo, seconds: float) -> tuple[float, float]:
    """Transitions a second, and for how long it went on."""
    frames, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        frames += work.step()
    return frames / elapsed, elapsed


def measure(name: str, batch: int, rounds: int, seconds: float) -> dict[str, Any]:
    """One and two learners in turn, in this process and another."""
    one_blas_thread()
    torch.set_num_threads(1)
    one, two = (contenders(batch)[name]() for _ in range(2))
    one.learner.join(Alone())
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        other = context.Process(target=follow, args=(folder, name, batch), daemon=True)
        other.start()
        group = Timed(JoinedGroup(Path(folder), 0, 2))
        two.learner.join(group)
        for work in (one, two):
            work.step()
        rates: list[tuple[float, float]] = []
        group.seconds, whole_s = 0.0, 0.0
        for _ in range(rounds):
            alone, _ = rate(one, seconds)
            together, took_s = rate(two, seconds)
            rates.append((alone, together))
            whole_s += took_s
        other.kill()
    ratios = [together / alone for alone, together in rates]
    return {
        "one learner": spread([alone for alone, _ in rates]),
        "two learners": spread([together for _, together in rates]),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "share of adding up and waiting": round(group.seconds / whole_s, 3),
    }


def spread(rates: list[float]) -> list[float]:
    """Median, lowest, highest."""
    return [round(one, 1) for one in (median(rates), min(rates), max(rates))]


def measured(results: Any, *arguments: Any) -> None:
    """`measure` in a process of its own: a process joins one group only."""
    results.put(measure(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--only", default="sac,ppo,ppo 2x256")
    arguments = parser.parse_args()
    context, found = multiprocessing.get_context("spawn"), {}
    for name in arguments.only.split(","):
        results = context.Queue()
        told = (results, name, arguments.batch, arguments.rounds, arguments.seconds)
        process = context.Process(target=measured, args=told)
        process.start()
        found[name] = results.get(timeout=600)
        print(json.dumps({name: found[name]}), file=sys.stderr, flush=True)
        process.join(10)
    held = {name: one["ratio"] >= BAR for name, one in found.items()}
    print(json.dumps({**found, "held": held}, indent=2))
    sys.exit(0 if all(held.values()) else 1)


if __name__ == "__main__":
    main()

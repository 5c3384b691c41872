"""Measure SAC's gradient steps and the replay's sampling alone, on a full buffer.

    python tests/benchmarks/sac_update.py [--threads 2] [--rounds 8] [--seconds 0.5] [--buffer N]

One JSON object: medians over the rounds, all measures in turn within each round. The matrix peak
is float32 products of 2048x2048 on as many threads; a frame counts as 2.4 MFLOP.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from covey.algorithms.replay import Batch, Replay
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_learner import SACLearner
from covey.platform.runtime.fragment import Episodes
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

SEEN, ACTING, COLUMNS, STEPS = 17, 6, 8, 64
MFLOP_A_FRAME = 2.4
SPACES = Spaces(
    ObservationSpec("numeric", (SEEN,), "float32"),
    ActionSpec("continuous", (ACTING,), "float32", low=(-1.0,) * ACTING, high=(1.0,) * ACTING),
)


def full_stream(transitions: int) -> Stream:
    """A ring of random transitions; one in 200 ends an episode."""
    blocks = transitions // (COLUMNS * STEPS) + 1
    stream = Stream.create(StreamSpec(STEPS, blocks, COLUMNS, SPACES, overwrite=True), shared=False)
    generator = np.random.default_rng(0)
    stream.permit(blocks)
    while (rows := stream.begin()) is not None:
        rows.observations[:] = generator.standard_normal(rows.observations.shape, np.float32)
        rows.actions[:] = generator.uniform(-1, 1, rows.actions.shape)
        rows.rewards[:] = generator.standard_normal(rows.rewards.shape, np.float32)
        rows.truncated[:] = generator.random(rows.rewards.shape) < 0.005
        rows.valid[:] = True
        rows.valid[1:] = ~rows.truncated[:-1]
        stream.commit(Episodes(np.empty(0), np.empty(0, np.int64)), 0, 0.0)
    return stream


def rate(step: Callable[[], object], seconds: float) -> float:
    """Calls a second."""
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or calls < 2:
        step()
        calls += 1
    return calls / elapsed


def sampling(replay: Replay, reprioritizes: bool) -> Callable[[], None]:
    """Batches of 256, followed by new priorities where there are any."""
    batch = Batch.around(
        np.zeros((256, SEEN), np.float32),
        np.zeros((256, ACTING), np.float32),
        np.zeros((256, SEEN), np.float32),
    )
    errors = np.random.default_rng(1).random(256).astype(np.float32)

    def step() -> None:
        replay.sample(batch)
        if reprioritizes:
            replay.reprioritize(batch, errors)

    return step


def contenders(stream: Stream, threads: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    steps: dict[str, Callable[[], object]] = {}
    left, right, out = torch.randn(3, 2048, 2048)

    def multiply() -> None:
        torch.set_num_threads(threads)
        torch.mm(left, right, out=out)

    steps["peak"] = multiply
    for size in (256, 8192):
        config = SACConfig(name="sac", batch_size=size)
        learner = SACLearner(config, SPACES, 0, threads)
        replay = learner.memory.open([stream], [])
        steps[f"batch {size}"] = lambda learner=learner, replay=replay: learner.update(replay)
    for name, prioritized in (("uniform", False), ("prioritized", True)):
        config = SACConfig(name="sac", prioritized=prioritized)
        replay = SACLearner(config, SPACES, 0, 1).memory.open([stream], [])
        steps[f"sample {name}"] = sampling(replay, prioritized)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--buffer", type=int, default=1_000_000)
    arguments = parser.parse_args()
    steps = contenders(full_stream(arguments.buffer), arguments.threads)
    for step in steps.values():
        step()
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            rates[name].append(rate(step, arguments.seconds))
    gflops = [calls * 2 * 2048**3 / 1e9 for calls in rates.pop("peak")]
    report: dict[str, object] = {"threads": arguments.threads, "peak_gflops": median(gflops)}
    for name, values in rates.items():
        report[name] = {"per_s": round(median(values), 1), "best": round(max(values), 1)}
        if name.startswith("batch"):
            work = MFLOP_A_FRAME * int(name.split()[1]) / 1e3
            shares = [value * work / peak for value, peak in zip(values, gflops, strict=True)]
            report[name]["of_peak"] = round(median(shares), 3)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

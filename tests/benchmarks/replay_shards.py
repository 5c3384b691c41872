"""A prioritised replay over several processes, as the learner meets it.

    python tests/benchmarks/replay_shards.py [--shards 3] [--transitions 12000] [--draws 2000000]

Prints one JSON object: chi-square over its degrees of freedom (1 for independent draws, less for
minibatches that are spread over the priorities) of how often transitions are drawn against the
exact probabilities: with the samplers' first priorities, after all of them have changed, and after
one process was killed and another one has refilled, with the seconds that this took; and
microseconds for drawing a minibatch and giving its errors back, beside a replay in the learner's
process. Exit status 1 where a frequency is off by more than 5 standard deviations.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.algorithms.prioritized_replay import SMALLEST, PrioritizedReplay
from covey.algorithms.replay import Batch, Replay
from covey.algorithms.shard_seats import Shards
from covey.algorithms.sharded_replay import ShardedReplay
from covey.platform.runtime.fragment import Episodes
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "algorithms"))
from process_crew import ProcessCrew

ALPHA, BATCH, COLUMNS, STEPS = 0.6, 512, 4, 50
SPACES = Spaces(
    ObservationSpec("numeric", (4,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)
Floats = NDArray[np.float64]


def filled(count: int, transitions: int) -> list[Stream]:
    """Streams of so many transitions in all, each with its number as its observation."""
    generator, number = np.random.default_rng(0), 0
    blocks = -(-transitions // (count * COLUMNS * STEPS))
    streams = []
    for _ in range(count):
        spec = StreamSpec(STEPS, blocks + 8, COLUMNS, SPACES, True, td_errors=True)
        stream = Stream.create(spec, shared=True)
        for _ in range(blocks):
            rows = stream.begin()
            assert rows is not None
            rows.valid[:] = True
            rows.td_errors[:] = generator.exponential(size=rows.td_errors.shape)
            numbers = np.arange(number, number + STEPS * COLUMNS).reshape(STEPS, COLUMNS)
            rows.observations[:-1, :, 0] = numbers
            number += numbers.size
            stream.commit(Episodes(np.empty(0), np.empty(0, np.int64)), 0, 0.0)
        streams.append(stream)
    return streams


def first_errors(streams: list[Stream]) -> Floats:
    """By the transitions' numbers."""
    return np.concatenate([s.rows.td_errors[: s.rows_written].ravel() for s in streams])


def chi_square(replay: Replay, errors: Floats, draws: int) -> float:
    """Over its degrees of freedom."""
    batch, counted = batch_of(), np.zeros(len(errors))
    for _ in range(draws // BATCH):
        replay.sample(batch)
        np.add.at(counted, batch.observations[:, 0].astype(int), 1)
    exact = (errors.astype(np.float64) + SMALLEST) ** ALPHA
    expected = counted.sum() * exact / exact.sum()
    return float(((counted - expected) ** 2 / expected).sum() / (len(errors) - 1))


def batch_of() -> Batch:
    seen = np.zeros((2, BATCH, 4), np.float32)
    return Batch.around(seen[0], np.zeros((BATCH, 1), np.int64), seen[1])


def microseconds(replay: Replay, errors: Floats) -> float:
    """Of a draw and its errors, the median of many."""
    batch, taken = batch_of(), []
    for _ in range(2000):
        began = time.perf_counter()
        replay.sample(batch)
        replay.reprioritize(batch, errors[batch.observations[:, 0].astype(int)])
        taken.append(time.perf_counter() - began)
        time.sleep(0.001)  # a gradient step
    return float(np.median(taken) * 1e6)


def study(shards: int, transitions: int, draws: int) -> dict[str, Any]:
    streams, crew, noted = filled(shards, transitions), ProcessCrew(), []
    settings = {"gamma": 0.99, "alpha": ALPHA}
    generator = np.random.default_rng(1)
    own = Shards(shards, crew, lambda *event: noted.append(event), root_seed=0)
    replay = ShardedReplay(streams, [], 10**9, generator, own, batch_size=BATCH, **settings)
    errors = first_errors(streams)
    try:
        while len(replay) < len(errors):
            time.sleep(0.01)
        found: dict[str, Any] = {"first": chi_square(replay, errors, draws)}
        changed = np.random.default_rng(2).exponential(2.0, len(errors)).astype(np.float32)
        batch, left = batch_of(), set(range(len(errors)))
        while left:
            replay.sample(batch)
            numbers = batch.observations[:, 0].astype(int)
            replay.reprioritize(batch, changed[numbers])
            left.difference_update(numbers.tolist())
        for _ in range(10):  # what was drawn before the last changes
            replay.sample(batch)
        found["changed"] = chi_square(replay, changed, draws)
        os.kill(crew.pids()["replay shard 0"], signal.SIGKILL)
        began = time.monotonic()
        while not noted or len(replay) < len(errors):
            replay.sample(batch)
        found["refilled_s"] = round(time.monotonic() - began, 2)
        lost = len(first_errors(streams[:1]))
        changed[:lost] = errors[:lost]
        found["refilled"] = chi_square(replay, changed, draws)
        found["shards_us"] = microseconds(replay, changed)
        alone = PrioritizedReplay(streams, [], 10**9, generator, **settings)
        found["alone_us"] = microseconds(alone, changed)
    finally:
        crew.close()
        replay.close()
    room = 5 * (2 / len(errors)) ** 0.5
    kinds = ("first", "changed", "refilled")
    return {"transitions": len(errors), **found, "exact": all(found[k] < 1 + room for k in kinds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--transitions", type=int, default=12_000)
    parser.add_argument("--draws", type=int, default=2_000_000)
    report = study(**vars(parser.parse_args()))
    print(json.dumps(report, indent=2))
    sys.exit(0 if report["exact"] else 1)


if __name__ == "__main__":
    main()

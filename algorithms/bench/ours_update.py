"""Covey's SAC updating from a full replay buffer, measured as `peers.serve` does; and its replay's
sampling alone.

    python -m covey.algorithms.bench.ours_update '{"seen": 17, "acted": 6, ...}'

Settings: as of `peers/sb3_update.py`.
"""

from functools import partial

import numpy as np

from covey.algorithms.bench.peers.random_replay import transitions
from covey.algorithms.bench.peers.serve import Measure, Settings, repeated, serve
from covey.algorithms.replay import Batch, Replay
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_learner import SACLearner
from covey.platform.runtime.fragment import Rows
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

REPLAYED = 256
COLUMNS = 8
BLOCK = 100


def spaces_of(settings: Settings) -> Spaces:
    seen, acted = settings["seen"], settings["acted"]
    bounds = {"low": (-1.0,) * acted, "high": (1.0,) * acted}
    return Spaces(
        ObservationSpec("numeric", (seen,), "float32"),
        ActionSpec("continuous", (acted,), "float32", **bounds),
    )


def full_stream(settings: Settings) -> Stream:
    """A sampler's stream that has been written to its end, in shared memory."""
    spaces, steps = spaces_of(settings), settings["capacity"] // COLUMNS // BLOCK * BLOCK
    rows = Rows.allocate(steps, COLUMNS, spaces)
    drawn = transitions(steps * COLUMNS, settings["seen"], settings["acted"])
    rows.observations[1:] = drawn["observations"][1:].reshape(rows.observations[1:].shape)
    rows.actions[:] = drawn["actions"].reshape(rows.actions.shape)
    rows.rewards[:] = drawn["rewards"].reshape(rows.rewards.shape)
    rows.valid[:] = True
    # Two blocks more than are read: the one being written, and the one whose row it begins with.
    spec = StreamSpec(BLOCK, steps // BLOCK + 2, COLUMNS, spaces, overwrite=True)
    stream = Stream.create(spec, shared=True)
    stream.load(rows, steps)
    return stream


def make_learner(settings: Settings, batch: int, prioritised: bool = False) -> SACLearner:
    """SAC with settings of its own where the comparison has none."""
    config = SACConfig(
        name="sac",
        batch_size=batch,
        buffer_size=settings["capacity"],
        hidden=tuple(settings["hidden"]),
        prioritized=prioritised,
    )
    return config.make_learner(spaces_of(settings), 0, settings["threads"])


def replaying(settings: Settings, replay: Replay) -> Measure:
    """Minibatches drawn and gathered, one after another; priorities are not all the same."""
    seen, acted = settings["seen"], settings["acted"]
    batch = Batch.around(
        *(np.zeros((REPLAYED, width), np.float32) for width in (seen, acted, seen))
    )
    errors = np.random.default_rng(0).random(REPLAYED, dtype=np.float32)
    for _ in range(settings["capacity"] // REPLAYED):
        replay.sample(batch)
        replay.reprioritize(batch, errors)

    def draw() -> float:
        replay.sample(batch)
        return 1.0

    return repeated(draw)


def prepare(settings: Settings) -> dict[str, Measure]:
    stream = full_stream(settings)

    def update(learner: SACLearner, replay: Replay) -> float:
        learner.update(replay)
        return 1.0

    measures = {}
    for size in settings["batches"]:
        learner = make_learner(settings, size)
        replay = learner.memory.open([stream], [])
        assert len(replay) == stream.rows_written * COLUMNS
        measures[f"batch {size}"] = repeated(partial(update, learner, replay))
    for kind, prioritised in (("uniform", False), ("prioritised", True)):
        learner = make_learner(settings, REPLAYED, prioritised)
        measures[kind] = replaying(settings, learner.memory.open([stream], []))
    return measures


if __name__ == "__main__":
    serve(prepare)

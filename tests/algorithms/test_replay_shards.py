"""A prioritised replay over three processes, one of which is killed, against exact frequencies."""

import os
import signal
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from process_crew import ProcessCrew

from covey.algorithms.prioritized_replay import SMALLEST, PrioritizedReplay
from covey.algorithms.replay import Batch
from covey.algorithms.replay_shard import DrawingReplay
from covey.algorithms.shard_seats import Shards
from covey.algorithms.shard_spec import Names
from covey.algorithms.sharded_replay import ShardedReplay
from covey.platform.runtime import pulse
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec

ALPHA, GAMMA, STEPS, BATCH = 0.6, 0.9, 2, 64
SHARDS, COLUMNS = 3, (2, 3, 4, 2)
"""Four streams: the first shard has two of them."""
SPACES = Spaces(
    ObservationSpec("numeric", (3,), "float32"), ActionSpec("discrete", (), "int64", choices=4)
)


def batch_of(size):
    seen = np.zeros((2, size, 3), np.float32)
    return Batch.around(seen[0], np.zeros((size, 1), np.int64), seen[1])


@pytest.fixture
def streams(rings):
    """Filled ones whose rows come with errors; each transition's is known by its observation."""
    generator = np.random.default_rng(0)
    made = [
        Stream.create(StreamSpec(5, 6, columns, SPACES, True, td_errors=True), shared=True)
        for columns in COLUMNS
    ]
    for stream in made:
        rings.write(stream, 8, generator)
        # Some streams' rows matter more than others'.
        stream.rows.td_errors[:] = generator.exponential(size=stream.rows.td_errors.shape)
        stream.rows.td_errors[:] *= generator.uniform(0.2, 3)
        stream.rows.td_errors[::9] = np.nan
    return made


def first_errors(streams):
    """What samplers say of each transition, by its observation's first number."""
    found = {}
    for stream in streams:
        rows, ring = stream.rows, stream.spec.rows
        for row in range(stream.oldest_row, stream.rows_written - STEPS + 1):
            for column in range(stream.spec.columns):
                if rows.valid[row % ring, column]:
                    seen = float(rows.observations[row % ring, column, 0])
                    found[seen] = float(rows.td_errors[(row + STEPS - 1) % ring, column])
    return found


def exact(errors):
    """Probabilities; what is not known counts as the highest."""
    priorities = {key: (error + SMALLEST) ** ALPHA for key, error in errors.items()}
    total = sum(priorities.values())
    return {key: priority / total for key, priority in priorities.items()}


def counts(replay, batches):
    batch, counted = batch_of(BATCH), Counter()
    for _ in range(batches):
        replay.sample(batch)
        counted.update(batch.observations[:, 0].tolist())
    return counted


def chi_square(counted, probabilities):
    """Over its degrees of freedom."""
    draws = sum(counted.values())
    assert set(counted) <= set(probabilities)
    terms = ((counted[k] - draws * p) ** 2 / (draws * p) for k, p in probabilities.items())
    return sum(terms) / (len(probabilities) - 1)


@pytest.fixture
def opened():
    """Makes replays over streams; ends their processes."""
    crews, replays = [], []

    def opened(streams, archives=(), count=SHARDS):
        crew, noted = ProcessCrew(), []
        shards = Shards(count, crew, lambda *event: noted.append(event), root_seed=1)
        generator = np.random.default_rng(3)
        more = {"gamma": GAMMA, "steps": STEPS, "alpha": ALPHA, "batch_size": BATCH}
        replay = ShardedReplay(streams, archives, 10**6, generator, shards, **more)
        crews.append(crew)
        replays.append(replay)
        replay.crew, replay.noted = crew, noted
        return replay

    yield opened
    for replay in replays:
        replay.close()
    for crew in crews:
        assert not any(worker.process.is_alive() for worker in crew.workers.values())
        crew.close()


def until_all_are_there(replay, transitions):
    deadline_s = time.monotonic() + 300
    while len(replay) < transitions:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def slots_of(streams):
    return sum(
        (stream.rows_written - STEPS + 1 - stream.oldest_row) * stream.spec.columns
        for stream in streams
    )


def resolved(streams):
    """The first errors; in place of those that nobody knows, the highest of their shard so far."""
    found = {}
    for shard in range(SHARDS):
        highest = 1.0 - SMALLEST
        for stream in streams[shard::SHARDS]:
            own = first_errors([stream])
            highest = max(highest, *(error for error in own.values() if np.isfinite(error)))
            found |= {key: e if np.isfinite(e) else highest for key, e in own.items()}
    return found


def test_frequencies_are_exact_over_three_processes_also_after_one_is_killed(streams, opened):
    replay = opened(streams)
    until_all_are_there(replay, slots_of(streams))
    errors = resolved(streams)
    # 5 standard deviations; and shares of each minibatch come closer than independent draws.
    room = 5 * (2 / len(errors)) ** 0.5
    assert chi_square(counts(replay, 600), exact(errors)) < 1 + room

    generator, batch, met = np.random.default_rng(4), batch_of(BATCH), set()
    corrected = {key: float(generator.exponential(2.0)) for key in errors}
    while met != set(errors):
        replay.sample(batch)
        keys = batch.observations[:, 0].tolist()
        met |= set(keys)
        replay.reprioritize(batch, np.array([corrected[key] for key in keys], np.float32))
    counts(replay, 10)  # what was drawn before the last corrections
    counted = counts(replay, 600)
    assert chi_square(counted, exact(corrected)) < 1 + room
    assert chi_square(counted, exact(errors)) > 3, "the corrections would not be seen"

    replay.sample(batch)
    chances = np.array([exact(corrected)[key] for key in batch.observations[:, 0].tolist()])
    weights = (len(errors) * chances) ** -0.4
    np.testing.assert_allclose(batch.weights, weights / weights.max(), rtol=1e-4)

    replay.crew.may_begin.clear()
    killed = replay.crew.workers["replay shard 0"].process
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    others = {key for stream in (streams[1], streams[2]) for key in first_errors([stream])}
    while not replay.noted:
        assert len(counts(replay, 1)) > 0  # training goes on
    assert set(counts(replay, 1)) <= others, "from those who are left"
    replay.crew.may_begin.set()
    ((kind, told),) = replay.noted
    assert kind == "replaced" and told.startswith("replay shard 0 died; another one refills")
    until_all_are_there(replay, slots_of(streams))
    now = {key: corrected[key] if key in others else error for key, error in errors.items()}
    assert chi_square(counts(replay, 600), exact(now)) < 1 + room


def test_a_shard_that_hangs_is_killed_and_replaced(streams, opened, monkeypatch):
    monkeypatch.setattr(pulse, "SILENCE_S", 3.0)
    replay = opened(streams)
    until_all_are_there(replay, slots_of(streams))
    hanging = replay.crew.workers["replay shard 0"].process
    os.kill(hanging.pid, signal.SIGSTOP)
    while not replay.noted:
        counts(replay, 1)
    hanging.join(60)
    assert hanging.exitcode == -signal.SIGKILL
    ((kind, told),) = replay.noted
    assert kind == "replaced"
    assert told.startswith("replay shard 0 gave no sign for 3 s and was killed; another one refi")
    until_all_are_there(replay, slots_of(streams))


def test_transitions_are_whole_and_weigh_1_where_priorities_are_equal(streams, opened):
    for stream in streams:
        stream.rows.td_errors[:] = 0.7
    replay, batch = opened(streams, count=1), batch_of(BATCH)
    until_all_are_there(replay, slots_of(streams))
    alone = PrioritizedReplay(
        streams, [], 10**6, np.random.default_rng(0), gamma=GAMMA, steps=STEPS, alpha=ALPHA
    )
    known, names = {}, ("actions", "rewards", "discounts", "next_observations")
    for _ in range(100):
        alone.sample(batch)
        for i, key in enumerate(batch.observations[:, 0].tolist()):
            known[key] = [getattr(batch, name)[i].copy() for name in names]
    assert set(known) == set(first_errors(streams))
    for _ in range(50):
        replay.sample(batch)
        for i, key in enumerate(batch.observations[:, 0].tolist()):
            for name, value in zip(names, known[key], strict=True):
                np.testing.assert_array_equal(getattr(batch, name)[i], value)
        np.testing.assert_array_equal(batch.weights, 1.0)
        replay.reprioritize(batch, np.full(BATCH, 0.7, np.float32))


def test_errors_of_rows_that_are_overwritten_meanwhile_go_nowhere(rings, streams):
    replay = DrawingReplay(
        streams, [], 10**6, np.random.default_rng(0), gamma=GAMMA, steps=STEPS, alpha=ALPHA
    )
    batch = batch_of(4 * BATCH)
    names = replace(Names.allocate(4 * BATCH), slots=batch.slots)
    replay.draw(batch, names)
    for stream in streams[::2]:
        rings.write(stream, 5, np.random.default_rng(7))
    assert len(replay)
    before = replay.state()[1]
    replay.correct(names.slots, names.rows, np.full(4 * BATCH, 1e6, np.float32))
    for index in range(len(streams)):
        leaves = replay.state()[1][f"priorities.{index}"]
        if index % 2:
            assert leaves.max() > 1000
        else:
            np.testing.assert_array_equal(leaves, before[f"priorities.{index}"])


def test_its_state_is_that_of_one_process_and_goes_on_anywhere(streams, opened):
    first = opened(streams[:3], streams[3:], count=2)
    until_all_are_there(first, slots_of(streams))
    batch, generator = batch_of(BATCH), np.random.default_rng(5)
    for _ in range(30):
        first.sample(batch)
        first.reprioritize(batch, generator.exponential(size=BATCH).astype(np.float32))
    record, arrays = first.state()
    alone = PrioritizedReplay(
        streams[:3], streams[3:], 10**6, generator, gamma=GAMMA, steps=STEPS, alpha=ALPHA
    )
    alone.restore(record, arrays)
    assert len(alone) == slots_of(streams)
    told, leaves = alone.state()
    for key in ("known", "highest", "beta", "sources", "generator"):
        assert told[key] == record[key], key
    others = opened(streams[:3], streams[3:], count=1)
    others.restore(told, leaves)
    for name, array in others.state()[1].items():  # of those who have not begun
        np.testing.assert_array_equal(array, arrays[name])
    until_all_are_there(others, slots_of(streams))
    for name, array in others.state()[1].items():
        np.testing.assert_array_equal(array, arrays[name])

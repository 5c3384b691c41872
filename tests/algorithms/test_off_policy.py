"""Updates and steps keep to their ratio, also with samplers that write all that they may."""

import numpy as np
import pytest

from covey.algorithms.feed import Feed
from covey.algorithms.off_policy import AHEAD_BLOCKS
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.progress import Progress
from covey.algorithms.sac import SACConfig
from covey.algorithms.turn import Channels
from covey.platform.runtime.meter import Meter
from covey.platform.runtime.weights_channel import SharedWeights

STEPS, COLUMNS, BATCH = 2, 3, 8
AT_MOST = 150


def turn_of(streams, lock_step=False, **settings):
    config = SACConfig(name="sac", hidden=(4,), batch_size=BATCH, **settings)
    learner = config.make_learner(streams[0].spec.spaces, 0, 1)
    progress, weights = Progress(), SharedWeights.create(learner.weights().arrays, shared=False)
    channels = Channels(Feed(streams), weights, progress, Meter(), lock_step=lock_step)
    return config.make_turn(learner, channels), progress


def write_all_that_is_permitted(rings, stream, generator):
    permitted = stream.permitted
    blocks = min(permitted - stream.blocks_written, AT_MOST)
    if blocks > 0:
        rings.write(stream, blocks, generator)
        stream.permit(permitted)


@pytest.mark.parametrize(("ratio", "starts"), [(1.0, 50), (0.25, 8), (4.0, 20), (0.01, 100)])
def test_samplers_and_learner_keep_to_the_ratio(rings, ratio, starts):
    generator = np.random.default_rng(0)
    streams = [rings.make_stream(400, STEPS, COLUMNS) for _ in range(2)]
    turn, progress = turn_of(streams, updates_per_step=ratio, learning_starts=starts)
    block, ahead = STEPS * COLUMNS * len(streams), 0.0
    for _ in range(60):
        before = progress.updates
        turn.take(None)
        ahead = max(ahead, AHEAD_BLOCKS * block, 2 * (progress.updates - before) / ratio)
        owed = (progress.env_steps - starts) * ratio - progress.updates
        assert owed <= (ahead + 2 / ratio + block) * ratio
        assert progress.updates <= max(0.0, (progress.env_steps - starts) * ratio)
        for stream in streams:
            write_all_that_is_permitted(rings, stream, generator)
    assert progress.updates >= 3
    while turn.take(None):  # nobody writes any more: what is owed is paid
        pass
    assert progress.updates == int((progress.env_steps - starts) * ratio)


def test_without_a_ratio_neither_side_waits(rings):
    generator = np.random.default_rng(0)
    stream = rings.make_stream(400, STEPS, COLUMNS)
    turn, progress = turn_of([stream], updates_per_step=None, learning_starts=0)
    for _ in range(2):
        turn.take(None)
        write_all_that_is_permitted(rings, stream, generator)
    assert stream.blocks_written == 2 * AT_MOST
    updates = 0
    for _ in range(3):
        turn.take(None)
        assert progress.updates > updates  # also where nothing new has come
        updates = progress.updates


def test_without_a_ratio_a_turn_in_lock_step_ends_by_the_clock(rings):
    stream = rings.make_stream(400, STEPS, COLUMNS)
    turn, progress = turn_of([stream], lock_step=True, updates_per_step=None, learning_starts=0)
    rings.write(stream, 10, np.random.default_rng(0))
    for _ in range(10):
        assert turn.take(None)
    assert progress.updates > 0


def test_nothing_is_owed_before_a_whole_transition_is_there(rings):
    stream = rings.make_stream(400, STEPS, COLUMNS)
    turn, progress = turn_of([stream], updates_per_step=1.0, learning_starts=0, n_step=30)
    generator = np.random.default_rng(0)
    for _ in range(20):
        rings.write(stream, 1, generator)
        turn.take(None)
    assert 0 < progress.updates <= progress.env_steps


@pytest.mark.parametrize("config", [SACConfig(name="sac", hidden=(4,)), PPOConfig(name="ppo")])
def test_in_lock_step_nobody_writes_before_the_first_turn(rings, config):
    """Or a quick sampler's second block would have been made with the first weights."""
    stream = rings.make_stream(400, STEPS, COLUMNS)
    learner = config.make_learner(stream.spec.spaces, 0, 1)
    weights = SharedWeights.create(learner.weights().arrays, shared=False)
    channels = Channels(Feed([stream]), weights, Progress(), Meter(), lock_step=True)
    config.make_turn(learner, channels)
    assert stream.begin() is None and stream.permitted == 0


@pytest.mark.parametrize("config", [SACConfig(name="sac", hidden=(4,)), PPOConfig(name="ppo")])
def test_who_joins_later_waits_for_a_turn(rings, config):
    """Its leave would else be withdrawn while its block is on its way."""
    here, joins = (rings.make_stream(400, STEPS, COLUMNS) for _ in range(2))
    joins.absent = True
    learner = config.make_learner(here.spec.spaces, 0, 1)
    weights = SharedWeights.create(learner.weights().arrays, shared=False)
    feed = Feed([here, joins])
    channels = Channels(feed, weights, Progress(), Meter(), lock_step=True)
    config.make_turn(learner, channels)
    feed.allow(1)
    assert here.begin() is not None and joins.begin() is None
    joins.absent = False
    assert joins.begin() is None
    feed.allow(1)
    assert joins.begin() is not None

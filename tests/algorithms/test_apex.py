"""Ape-X: every environment explores at its own rate, and rows come with the errors that a learner
with the same weights finds.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from covey.algorithms.apex import ApexConfig
from covey.algorithms.parts import make_exploring_policy
from covey.algorithms.policy_rating import td_errors, unknown
from covey.algorithms.prioritized_replay import SMALLEST
from covey.algorithms.sampler_maker import SamplerMaker
from covey.envs.make import EnvSource, make_environments
from covey.platform.errors import JobFileError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runtime.crew import InlineCrew
from covey.platform.runtime.overlapped import Overlapped
from covey.platform.runtime.sampler import Sampler
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream
from covey.platform.runtime.weights_channel import SharedWeights

SMALL = {"name": "apex", "batch_size": 16, "hidden": (16,), "buffer_size": 4000, "block_steps": 5}
SPACES = Spaces(
    ObservationSpec("numeric", (4,), "float32"), ActionSpec("discrete", (), "int64", choices=2)
)
CHOICES = 50
MANY = Spaces(SPACES.observation, ActionSpec("discrete", (), "int64", choices=CHOICES), agents=2)


@pytest.mark.parametrize("total", [1, 2, 6])
def test_environment_i_of_n_explores_at_its_own_rate(total):
    """The shares of actions that are not the best one, whatever part of them a sampler has."""
    config = ApexConfig(**SMALL)
    arrays = config.make_learner(MANY, 0, 1).weights().arrays
    expected = [0.4 ** (1 + 7 * i / max(1, total - 1)) for i in range(total)]
    for first, count in {(0, total), (total // 2, total - total // 2)}:
        policy = config.make_exploring_policy(MANY, first, count, total)
        policy.load(arrays)
        seen, generator = np.zeros((2 * count, 4), np.float32), np.random.default_rng(0)
        drawn = [policy.sample(seen, generator) for _ in range(1500)]
        best = policy.best(seen)
        others = np.mean([actions != best for actions, _ in drawn], axis=0).reshape(count, 2)
        rates = np.array(expected[first : first + count])
        room = 4 * (rates / 1500) ** 0.5
        for agent in range(2):
            shares = others[:, agent] * CHOICES / (CHOICES - 1)
            assert (np.abs(shares - rates) <= room).all()
        chances = np.exp(np.array([logp for _, logp in drawn]))
        best_taken = np.array([actions == best for actions, _ in drawn])
        each = np.repeat(rates, 2) / CHOICES
        exact = np.where(best_taken, 1 - np.repeat(rates, 2) + each, each)
        np.testing.assert_allclose(chances, exact, rtol=1e-4)


def test_columns_that_are_asked_for_in_groups_have_the_same_rates():
    config = ApexConfig(**SMALL)
    arrays = config.make_learner(SPACES, 0, 1).weights().arrays
    policy = config.make_exploring_policy(SPACES, 0, 4, 4)
    policy.load(arrays)
    seen, drawn = np.zeros((2, 4), np.float32), []
    for _ in range(2):
        drawn += [policy.sample(seen, np.random.default_rng(9)) for _ in range(2)]
    rates = 0.4 ** (1 + 7 * np.arange(4) / 3)
    best = policy.best(seen[:1])[0]
    for index, (actions, logp) in enumerate(drawn):
        own = rates[2 * (index % 2) :][:2]
        exact = np.where(actions == best, 1 - own / 2, own / 2)
        np.testing.assert_allclose(np.exp(logp), exact, rtol=1e-5)


def test_samplers_know_which_of_all_environments_are_theirs():
    made = []

    class Recording(InlineCrew):
        def spawn(self, name, factory, *arguments):
            made.append(arguments[1])
            return super().spawn(name, factory, *arguments)

    job = job_of({}, {"samplers": {"min": 1, "max": 3}, "envs_per_sampler": 2})
    maker = SamplerMaker(Recording(), job, SPACES)
    for index in (0, 2):
        maker.spawn(index, 0)
    assert made[0].args[2:] == (0, 2, 6) and made[1].args[2:] == (4, 2, 6)
    assert made[0].func is make_exploring_policy


def job_of(algorithm, sampling, **shared):
    section = {"algorithm": {"name": "apex", **algorithm}, "env": {"id": "CartPole-v1"}}
    document = {"name": "test", "workload": "rl", "stop": {"env_steps": 100}, **shared}
    return parse_job_file({**document, "rl": section | {"sampling": sampling}}, Path.cwd())


def test_a_job_that_repeats_is_told_to_give_a_ratio():
    with pytest.raises(JobFileError, match="updates_per_step"):
        job_of({}, {}, deterministic=True)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_first_priorities_are_those_that_a_learner_with_the_same_weights_computes(steps, groups):
    config = ApexConfig(**SMALL, n_step=steps, gamma=0.9)
    learner = config.make_learner(SPACES, 4, 1)
    stream = sampled(config, learner, blocks=60, groups=groups)
    replay = learner.memory.open([stream], [])
    assert len(replay)
    first = replay.state()[1]["priorities.0"]
    met = np.zeros(len(first), bool)
    for _ in range(600):  # before any step: the target is the same network
        replay.sample(learner._batch)
        learner._sampled.encode()
        wanted = learner._wanted()
        values = learner._network.values(learner._inputs).gather(1, learner._actions)
        errors = (values - wanted).abs().numpy()[:, 0]
        slots = learner._batch.slots
        np.testing.assert_allclose((errors + SMALLEST) ** 0.6, first[slots], rtol=2e-5)
        met[slots] = True
    assert met.sum() > 0.9 * (first > 0).sum() > 200
    valid = stream.rows.valid[: stream.rows_written - steps + 1].reshape(-1)
    np.testing.assert_array_equal(first > 0, valid)


def sampled(config, learner, blocks, groups=1, stream=None, goes_on=None):
    """A stream with rows of CartPole, acted in with the learner's weights."""
    stream = stream or Stream.create(config.stream_spec(4, 1, SPACES), shared=False)
    weights = SharedWeights.create(learner.weights().arrays, shared=False)
    weights.publish(learner.weights().arrays)
    source = EnvSource("CartPole-v1", {}, None, False, None)
    parts = [
        partial(make_environments, source, 4 // groups, k * 4 // groups, 0, "environment", True)
        for k in range(groups)
    ]
    sampler = Sampler(
        partial(Overlapped, *parts) if groups > 1 else parts[0],
        partial(config.make_exploring_policy, SPACES, 0, 4, 4),
        np.random.SeedSequence(1),
    )
    sampler.connect(lambda: (stream, weights))
    if goes_on is not None:
        sampler.restore(*goes_on)
    for _ in range(blocks):
        assert sampler.sample()
    sampled.state = sampler.state()
    sampler.close()
    return stream


def test_a_sampler_that_takes_another_ones_place_leaves_unknown_what_it_has_not_seen():
    config = ApexConfig(**SMALL)
    learner = config.make_learner(SPACES, 4, 1)
    stream = sampled(config, learner, blocks=2)
    sampled(config, learner, blocks=2, stream=stream)
    known = np.isfinite(stream.rows.td_errors[:20]).all(axis=1)
    # Row 10 begins anew: of the transitions that end there, the first sampler alone knew anything,
    # and what row 10 itself would be is no transition.
    assert known.tolist() == [False] * 2 + [True] * 8 + [False] * 3 + [True] * 7
    replay = learner.memory.open([stream], [])
    priorities = replay.state()[1] if len(replay) else {}
    leaves, highest = priorities["priorities.0"].reshape(-1, 4), replay.state()[0]["highest"]
    valid = stream.rows.valid[8:10]
    np.testing.assert_array_equal(leaves[8:10][valid], highest)


def test_who_goes_on_where_another_stood_writes_the_same_errors():
    config = ApexConfig(**SMALL)
    learner = config.make_learner(SPACES, 4, 1)
    whole = sampled(config, learner, blocks=8)
    halves = sampled(config, learner, blocks=3)
    sampled(config, learner, blocks=5, stream=halves, goes_on=sampled.state)
    for name in ("observations", "actions", "td_errors"):
        ours, theirs = getattr(halves.rows, name)[:40], getattr(whole.rows, name)[:40]
        np.testing.assert_array_equal(ours, theirs)


def test_errors_end_where_episodes_do():
    rows = unknown(4, 1)
    rows["taken"][:, 0], rows["rewards"][:, 0] = [1, 2, 3, 4], [1, 10, 100, 1000]
    rows["best"] = np.array([[5], [6], [7], [8], [9]], np.float32)
    rows["valid"][:] = True
    half = partial(td_errors, gamma=0.5, steps=2)
    np.testing.assert_allclose(half(rows)[:, 0], [5 + 7 / 4, 58 + 8 / 4, 597 + 9 / 4])
    rows["truncated"][1] = True
    rows["valid"][2] = False
    np.testing.assert_allclose(half(rows)[:2, 0], [5 + 7 / 4, 8 + 7 / 2])
    rows["terminated"][1] = True
    np.testing.assert_allclose(half(rows)[:2, 0], [5, 8])


@pytest.mark.parametrize(
    ("algorithm", "sampling", "line"),
    [
        ({"replay": {"shards": 1}}, {"samplers": 0}, "this job is all in one process; give"),
        ({"replay": {"shards": 3}}, {"samplers": 2}, "3 shards cannot share the streams of 2"),
    ],
)
def test_shards_that_cannot_be(algorithm, sampling, line):
    with pytest.raises(JobFileError, match=f"replay.shards: .*{line}"):
        job_of(algorithm, sampling, resources={"cpus": 2})
    with pytest.raises(JobFileError, match=r"replay.shards: .* depends on the clock"):
        job_of(algorithm | {"updates_per_step": 1}, sampling, deterministic=True)


def test_a_goal_of_evaluations_needs_some():
    with pytest.raises(JobFileError, match=r"stop.evaluation_return_mean: needs evaluations"):
        job_of({}, {}, stop={"evaluation_return_mean": 475})

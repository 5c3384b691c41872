"""IMPALA and asynchronous PPO: their gradient against the paper's, ages, lag, exact resume."""

import math

import numpy as np
import pytest
import torch
from test_estimators import slow_vtrace
from test_training import final_files, job_of, train

from covey.algorithms.appo import APPOConfig
from covey.algorithms.corrected_learner import CorrectedLearner
from covey.algorithms.feed import Feed
from covey.algorithms.impala import ImpalaConfig
from covey.algorithms.progress import Progress
from covey.algorithms.turn import Channels
from covey.platform.runtime.fragment import Episodes, Fragment, Rows
from covey.platform.runtime.meter import Meter
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.runtime.stream import Stream, StreamSpec
from covey.platform.runtime.weights_channel import SharedWeights

SPACES = Spaces(
    ObservationSpec("numeric", (2,), "float32"), ActionSpec("discrete", (), "int64", choices=3)
)
NONE = Episodes(np.zeros(0), np.zeros(0, np.int64))
STEPS, COLUMNS = 8, 4


def fill(rows, seed):
    """As an older policy would have written them: random actions of chances between .2 and .8."""
    generator = np.random.default_rng(seed)
    rows.observations[...] = generator.normal(size=rows.observations.shape)
    rows.actions[...] = generator.integers(0, 3, rows.actions.shape)
    rows.logp[...] = np.log(generator.uniform(0.2, 0.8, rows.logp.shape))
    rows.rewards[...] = generator.normal(size=rows.rewards.shape)
    rows.valid[...] = True
    rows.terminated[...] = rows.truncated[...] = False
    rows.terminated[2, 0] = rows.truncated[4, 1] = True
    rows.valid[3, 0] = rows.valid[5, 1] = False
    return rows


def fragment(seed=0, version=0):
    return Fragment(fill(Rows.allocate(STEPS, COLUMNS, SPACES), seed), NONE, version, 0.0, 0.0)


def learner_of(config=ImpalaConfig, **settings):
    name = "impala" if config is ImpalaConfig else "appo"
    settings = {"normalize_observations": False, "hidden": (5,), "max_grad_norm": 1e9, **settings}
    made = config(name=name, **settings)
    return made, made.make_learner(SPACES, 3, 1)


@pytest.mark.parametrize("bars", [(1.0, 1.0), (2.0, 0.5)])
def test_the_gradient_is_the_papers(bars):
    """rho * grad log pi * (r + gamma v' - V), 0.5 (v - V)**2 and entropy, summed up."""
    rho_bar, c_bar = bars
    config, learner = learner_of(rho_bar=rho_bar, c_bar=c_bar, gamma=0.9, entropy_coef=0.02)
    network, one = learner._agent.network, fragment()
    rows = one.rows
    seen = torch.from_numpy(rows.observations).view(-1, 2)
    flat = torch.from_numpy(rows.actions).flatten()
    logp, entropy, values = network.evaluate(seen[: len(flat)], flat)
    everywhere = network.value(seen).detach().view(STEPS + 1, COLUMNS).double().numpy()
    cut = rows.truncated.copy()
    cut[:-1] |= ~rows.valid[1:]
    targets, advantages = slow_vtrace(
        rows.logp.astype(float),
        logp.detach().view(STEPS, COLUMNS).double().numpy(),
        rows.rewards.astype(float),
        everywhere[:-1],
        everywhere[1:],
        rows.terminated,
        cut,
        *(config.gamma, rho_bar, c_bar),
    )
    chosen = torch.from_numpy(np.flatnonzero(rows.valid))
    weighted, wanted = (
        torch.from_numpy(a).float().flatten()[chosen] for a in (advantages, targets)
    )
    total = (
        -(logp[chosen] * weighted).mean()
        + 0.5 * 0.5 * (values[chosen] - wanted).square().mean()
        - 0.02 * entropy[chosen].mean()
    )
    expected = torch.autograd.grad(total, list(network.parameters()))
    figures = learner.update(0.0, one)
    found = [parameter.grad for parameter in network.parameters()]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert figures["gradient_steps"] == 1 and figures["frames"] == STEPS * COLUMNS - 2


@pytest.mark.parametrize(
    "settings", [{}, {"share_torso": True, "normalize_advantages": True, "normalize_returns": True}]
)
def test_one_pass_of_the_networks_an_update_gives_what_two_would(settings):
    config, learner = learner_of(**settings)
    twin = CorrectedLearner(config, SPACES, 3, 1)
    passes = []
    learner._agent.network.critic.register_forward_hook(lambda *_: passes.append(1))
    for seed in range(5):
        ours, theirs = (one.update(0.0, fragment(seed)) for one in (learner, twin))
        del ours["update_s"], theirs["update_s"]
        assert ours == pytest.approx(theirs, abs=1e-6)
    assert len(passes) == 5
    for name, array in twin.state().model.items():
        np.testing.assert_allclose(learner.state().model[name], array, rtol=0, atol=1e-6)


def test_what_the_newest_policy_did_needs_no_correction():
    found = []
    for correction in ("v-trace", "none"):
        _, learner = learner_of(correction=correction)
        one = fragment()
        seen = torch.from_numpy(one.rows.observations[:-1]).view(-1, 2)
        newest = learner._agent.logp(seen, torch.from_numpy(one.rows.actions).flatten())
        own = newest.view(STEPS, COLUMNS).numpy()
        other = Fragment(Rows(**{**vars(one.rows), "logp": own}), NONE, 0, 0.0, 0.0)
        learner.update(0.0, other)
        found.append(learner.state().model)
        _, twin = learner_of(correction=correction)
        twin.update(0.0, one)  # acted otherwise: only the corrected one takes note of it
        same = all(np.allclose(twin.state().model[n], a, atol=1e-7) for n, a in found[-1].items())
        assert same == (correction == "none")
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], atol=1e-6)


def test_asynchronous_ppo_clips_around_the_policy_that_its_update_begins_with():
    """However old what it learns from is, its first step clips nothing, and later ones do."""
    settings = {"epochs": 1, "minibatch_size": 1000, "learning_rate": 0.05}
    _, learner = learner_of(APPOConfig, **settings)
    assert learner.update(0.0, fragment())["clip_fraction"] == 0
    _, learner = learner_of(APPOConfig, **{**settings, "epochs": 6})
    assert learner.update(0.0, fragment())["clip_fraction"] > 0


def test_weights_are_given_out_as_late_as_was_asked_for_also_after_a_restore():
    _, learner = learner_of(weight_lag=2)
    _, plain = learner_of()
    history = [plain.weights()]
    for index in range(5):
        if index == 3:
            _, twin = learner_of(weight_lag=2)
            twin.restore(learner.state())
            learner = twin
        for one in (learner, plain):
            one.update(0.0, fragment(seed=index))
        history.append(plain.weights())
        expected, given = history[max(0, index - 1)], learner.weights()
        assert given.version == expected.version == max(0, index - 1)
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(given.arrays[name], array)


def turn_of(streams, lock_step=False, **settings):
    config, learner = learner_of(**settings)
    progress, weights = Progress(), SharedWeights.create(learner.weights().arrays, shared=False)
    meter = Meter()
    channels = Channels(Feed(streams), weights, progress, meter, lock_step=lock_step)
    return config.make_turn(learner, channels), progress, meter, weights


def stream():
    return Stream.create(StreamSpec(STEPS, 3, COLUMNS, SPACES, overwrite=False), shared=False)


def write(stream, version, seed=0):
    rows = stream.begin()
    if rows is None:
        return False
    fill(rows, seed)
    stream.commit(NONE, version, 0.0)
    return True


def test_a_turn_takes_what_is_there_and_waits_for_nobody():
    quick, slow = stream(), stream()
    turn, progress, meter, weights = turn_of([quick, slow])
    assert not turn.take(None)  # nothing is there
    for _ in range(3):
        assert write(quick, weights.newest)
    assert not write(quick, weights.newest)  # no further ahead: it would be too old
    assert turn.take(None) and (quick.blocks_taken, slow.blocks_taken) == (2, 0)
    write(slow, 0)
    assert turn.take(None) and (quick.blocks_taken, slow.blocks_taken) == (3, 1)
    assert progress.env_steps == 4 * (STEPS * COLUMNS - 2) and progress.updates == 2
    assert weights.newest == 2
    assert meter.whole()["weight_age"] == pytest.approx((0 + 0 + 1 + 1) / 4)


def test_what_is_too_old_is_counted_but_not_learnt_from():
    one = stream()
    turn, progress, _, weights = turn_of([one], max_weight_age=2)
    for version in (0, 0, 0):
        write(one, version)
        assert turn.take(None)
    assert (progress.updates, weights.newest) == (3, 3)
    write(one, 0)  # three updates old
    assert turn.take(None)
    assert (progress.updates, weights.newest) == (3, 3)
    assert turn.metrics()["dropped_steps"] == STEPS * COLUMNS - 2
    assert progress.env_steps == 4 * (STEPS * COLUMNS - 2)
    write(one, 1)
    assert turn.take(None) and progress.updates == 4


def test_a_lag_on_purpose_is_in_the_age_and_nothing_is_dropped_for_it():
    one = stream()
    turn, progress, meter, _ = turn_of([one], weight_lag=5, max_weight_age=1)
    for version in range(4):
        write(one, version)
        turn.take(None)
    assert progress.updates == 4 and meter.whole()["weight_age"] == 5


SMALL = {"rollout_steps": 8, "hidden": [16], "threads": 1, "normalize_returns": True}


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "impala", "weight_lag": 3},
        {"name": "appo", "minibatch_size": 16},
    ],
    ids=["impala", "appo"],
)
def test_a_resumed_deterministic_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, algorithm):
    job = job_of(algorithm={**SMALL, **algorithm}, deterministic=True)
    train(tmp_path / "whole", job)
    train(tmp_path / "halves", job, lambda run, step: step >= 256 and run.request_stop())
    train(tmp_path / "halves")
    assert final_files(tmp_path / "halves") == final_files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["impala", "appo"])
@pytest.mark.parametrize("policies", ["shared", "separate"])
def test_agents_of_an_environment_learn_together(tmp_path, name, policies):
    algorithm = {**SMALL, "name": name, "policies": policies, "learning_rate": 0.01, "gamma": 0.5}
    job = job_of("simple_spread", {**algorithm, "hidden": [8]}, kwargs={}, stop={"env_steps": 600})
    metrics = train(tmp_path / "run", job)
    assert math.isfinite(metrics["policy_loss"]) and metrics["updates"] > 0


@pytest.mark.parametrize("name", ["impala", "appo"])
def test_cartpole_gets_better_in_seconds(tmp_path, name):
    algorithm = {"name": name, "learning_rate": 2e-3, "gamma": 0.98, "threads": 1}
    job = job_of(
        algorithm=algorithm,
        sampling={"envs_per_sampler": 8},
        stop={"env_steps": 60_000, "episode_return_mean": 100},
    )
    assert train(tmp_path / "run", job)["episode_return_mean"] >= 100

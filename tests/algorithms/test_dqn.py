"""DQN's gradient step against the same step written with autograd, and its state."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from covey.algorithms.dqn import DQNConfig
from covey.algorithms.dqn_learner import DQNLearner
from covey.algorithms.fused_adam import FusedAdam
from covey.algorithms.q_mlp import dueling_values
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

ACTIONS = ActionSpec("discrete", (), "int64", choices=4)
NUMBERS = Spaces(ObservationSpec("numeric", (3,), "float32"), ACTIONS)
CATEGORIES = Spaces(ObservationSpec("categorical", (3,), "int64", (2, 3, 4)), ACTIONS)
IMAGES = Spaces(ObservationSpec("numeric", (36, 40, 3), "uint8"), ACTIONS)
EVERYTHING = {"double": True, "dueling": True, "n_step": 3, "prioritized": True}
SMALL = {"name": "dqn", "batch_size": 30, "hidden": (16, 16), "buffer_size": 500}


def learner_and_replay(rings, spaces=NUMBERS, **settings):
    config = DQNConfig(**(SMALL | settings))
    learner = DQNLearner(config, spaces, root_seed=3, threads=1)
    stream = rings.make_stream(8, 10, 2, spaces)
    rings.write(stream, 6, np.random.default_rng(0))
    generator, seen = np.random.default_rng(1), stream.rows.observations
    if seen.dtype == np.uint8:
        seen[:] = generator.integers(256, size=seen.shape)
    elif spaces is CATEGORIES:
        seen[:] = generator.integers((2, 3, 4), size=seen.shape)
    return learner, learner.memory.open([stream], []), stream


class Recorded:
    """A replay that keeps the last batch as it was sampled."""

    def __init__(self, replay):
        self._replay = replay

    def sample(self, batch):
        self._replay.sample(batch)
        self.batch = copy.deepcopy(batch)

    def reprioritize(self, batch, errors):
        self._replay.reprioritize(batch, errors)


def slow_gradient(model, batch, dueling, double):
    """Of Huber's loss by the weights, by name, unclipped."""

    def network(name):
        modules = []
        for index in range(3):
            weight = model[f"{name}.{index}.weight"]
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data = torch.from_numpy(weight.copy())
            layer.bias.data = torch.from_numpy(model[f"{name}.{index}.bias"].copy())
            modules += [layer, nn.ReLU()]
        return nn.Sequential(*modules[:-1])

    def values(net, seen):
        head = net(torch.from_numpy(seen))
        return dueling_values(head) if dueling else head

    trained, target = network("q"), network("target")
    with torch.no_grad():
        following = values(target, batch.next_observations)
        best = values(trained if double else target, batch.next_observations).argmax(1)
        value = following.gather(1, best[:, None])[:, 0]
        wanted = torch.from_numpy(batch.rewards) + torch.from_numpy(batch.discounts) * value
    chosen = values(trained, batch.observations).gather(1, torch.from_numpy(batch.actions))[:, 0]
    losses = nn.functional.smooth_l1_loss(chosen, wanted, reduction="none")
    (losses * torch.from_numpy(batch.weights)).mean().backward()
    return {
        f"q.{index}.{kind}": getattr(layer, kind).grad.numpy()
        for index, layer in enumerate(trained[::2])
        for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("settings", [{"double": False}, {"dueling": True}, EVERYTHING])
def test_the_gradient_is_autograds(rings, monkeypatch, settings):
    learner, replay, _ = learner_and_replay(rings, **settings, target_every=7, learning_rate=0.01)
    for _ in range(10):
        learner.update(replay)
    model, recorded, seen = learner.state().model, Recorded(replay), {}

    def step(self, gradient, learning_rate, scale=1.0):
        seen.update(gradient=gradient.copy(), scale=scale)

    monkeypatch.setattr(FusedAdam, "step", step)
    learner.update(recorded)
    dueling, double = settings.get("dueling", False), settings.get("double", True)
    expected = slow_gradient(model, recorded.batch, dueling, double)
    flat = [
        np.vstack((expected[f"q.{index}.weight"].T, expected[f"q.{index}.bias"])).ravel()
        for index in range(3)
    ]
    np.testing.assert_allclose(seen["gradient"], np.concatenate(flat), rtol=1e-4, atol=1e-5)
    length = np.linalg.norm(seen["gradient"])
    assert seen["scale"] == pytest.approx(min(1.0, 10.0 / length), rel=1e-5)


def test_long_gradients_are_shortened(rings, monkeypatch):
    learner, replay, _ = learner_and_replay(rings, max_grad_norm=0.01)
    scales = []

    def step(self, gradient, learning_rate, scale=1.0):
        scales.append(np.linalg.norm(gradient) * scale)

    monkeypatch.setattr(FusedAdam, "step", step)
    learner.update(replay)
    assert scales == [pytest.approx(0.01, rel=1e-3)]


@pytest.mark.parametrize("spaces", [NUMBERS, CATEGORIES, IMAGES])
def test_goes_on_bit_for_bit(rings, spaces):
    settings = EVERYTHING | {"target_every": 4}
    one, replay, stream = learner_and_replay(rings, spaces, **settings)
    one.set_progress(1000, 5000)
    for _ in range(5):
        one.update(replay)
    other, _, _ = learner_and_replay(rings, spaces, **settings)
    other.restore(one.state())
    rings.write(stream, 1, np.random.default_rng(9))
    again = other.memory.open([stream], [])
    for _ in range(5):
        one.update(replay)
        other.update(again)
    ours, theirs = one.state(), other.state()
    assert ours.record == theirs.record
    for kind in ("model", "optimizer"):
        mine, its = getattr(ours, kind), getattr(theirs, kind)
        assert mine.keys() == its.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], its[name], err_msg=name)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("spaces", [NUMBERS, CATEGORIES, IMAGES])
def test_learns_which_action_is_best_and_acts_so(rings, spaces, dueling):
    """The reward is the action's number, in episodes of one step."""
    learner, replay, stream = learner_and_replay(
        rings, spaces, gamma=0.0, learning_rate=3e-3, dueling=dueling
    )
    stream.rows.rewards[:] = stream.rows.actions
    for _ in range(60 if spaces is IMAGES else 400):
        learner.update(replay)
    learner.set_progress(20_000, None)
    weights = learner.weights()
    policy = DQNConfig(**(SMALL | {"dueling": dueling})).make_policy(spaces)
    policy.load(weights.arrays)
    batch = stream.rows.observations[:20].reshape(40, *spaces.observation.shape)
    assert (policy.best(batch) == 3).mean() > 0.9
    actions, logp = policy.sample(batch, np.random.default_rng(0))
    best = policy.best(batch)
    np.testing.assert_allclose(np.exp(logp[actions == best]), 0.95 + 0.05 / 4, rtol=1e-5)
    assert weights.version == learner.updates


def test_epsilon_falls_to_its_end_and_travels_with_the_weights():
    learner = DQNLearner(DQNConfig(**SMALL), NUMBERS, 0, 1)
    seen = []
    for env_steps in (0, 5000, 10_000, 20_000):
        learner.set_progress(env_steps, None)
        seen.append(float(learner.weights().arrays["epsilon"][0]))
    np.testing.assert_allclose(seen, [1.0, 0.525, 0.05, 0.05], rtol=1e-6)


def test_explores_with_epsilon():
    learner = DQNLearner(DQNConfig(**SMALL), NUMBERS, 0, 1)
    learner.set_progress(5000, None)
    policy = DQNConfig(**SMALL).make_policy(NUMBERS)
    policy.load(learner.weights().arrays)
    seen = np.zeros((40_000, 3), np.float32)
    actions, logp = policy.sample(seen, np.random.default_rng(0))
    shares = np.bincount(actions, minlength=4) / len(actions)
    chances = np.full(4, 0.525 / 4)
    chances[policy.best(seen[:1])] += 0.475
    np.testing.assert_allclose(shares, chances, atol=0.01)
    np.testing.assert_allclose(np.exp(logp), chances[actions], rtol=1e-5)


def test_refuses_actions_that_are_numbers():
    action = ActionSpec("continuous", (1,), "float32", low=(-1.0,), high=(1.0,))
    with pytest.raises(UserError, match="actions to choose from"):
        DQNLearner(DQNConfig(**SMALL), Spaces(NUMBERS.observation, action), 0, 1)

"""SAC's gradient step against the same step written with autograd, and its state."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from covey.algorithms import sac_chunks
from covey.algorithms.policy_squashed import action_scale
from covey.algorithms.sac import SACConfig
from covey.algorithms.sac_learner import SACLearner
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

CONTINUOUS = Spaces(
    ObservationSpec("numeric", (3,), "float32"),
    ActionSpec("continuous", (2,), "float32", low=(-2.0, -1.0), high=(2.0, 3.0)),
)
SMALL = {"name": "sac", "batch_size": 30, "hidden": (16, 16), "buffer_size": 500}


def learner_and_replay(rings, threads=1, **settings):
    config = SACConfig(**(SMALL | settings))
    learner = SACLearner(config, CONTINUOUS, root_seed=3, threads=threads)
    stream = rings.make_stream(8, 10, 2, CONTINUOUS)
    rings.write(stream, 6, np.random.default_rng(0))
    return learner, learner.memory.open([stream], []), stream


class Recorded:
    """A replay that keeps the last batch as it was sampled, and the errors it was told."""

    def __init__(self, replay):
        self._replay = replay

    def sample(self, batch):
        self._replay.sample(batch)
        batch.weights[:] = np.linspace(0.2, 1, len(batch.weights))
        self.batch = copy.deepcopy(batch)

    def reprioritize(self, batch, errors):
        self.errors = errors.copy()


class Reference:
    """The learner's networks as torch modules, and one gradient step of the paper's."""

    def __init__(self, model, activation):
        self._between = nn.ReLU if activation == "relu" else nn.Tanh
        self.nets = {
            name: self._module(model, name)
            for name in ("actor", "critic_1", "critic_2", "target_1", "target_2")
        }
        self.log_alpha = torch.from_numpy(model["log_alpha"].copy()).requires_grad_()

    def _module(self, model, name):
        modules = []
        for index in range(3):
            weight = model[f"{name}.{index}.weight"]
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data = torch.from_numpy(weight.copy())
            layer.bias.data = torch.from_numpy(model[f"{name}.{index}.bias"].copy())
            modules += [layer, self._between()]
        return nn.Sequential(*modules[:-1])

    def draw(self, seen, noise):
        mean, log_std = self.nets["actor"](seen).chunk(2, 1)
        log_std = log_std.clamp(-20, 2)
        before = mean + log_std.exp() * noise
        logp = torch.distributions.Normal(mean, log_std.exp()).log_prob(before)
        actions = before.tanh()
        logp = logp - (1 - actions.square() + 1e-9).log()
        return actions, logp.sum(1, keepdim=True)

    def q(self, kind, seen, actions):
        both = torch.cat((seen, actions), 1)
        return [self.nets[f"{kind}_{k}"](both) for k in (1, 2)]

    def step(self, batch, noise, learning_rate, tau, target_entropy):
        center, half = (torch.from_numpy(part) for part in action_scale(CONTINUOUS.action))
        seen, following = (
            torch.from_numpy(part) for part in (batch.observations, batch.next_observations)
        )
        rewards, discounts, weights = (
            torch.from_numpy(part)[:, None]
            for part in (batch.rewards, batch.discounts, batch.weights)
        )
        alpha = math.exp(self.log_alpha.item())
        with torch.no_grad():
            actions, logp = self.draw(following, noise[1])
            soft = torch.minimum(*self.q("target", following, actions)) - alpha * logp
            wanted = rewards + discounts * soft
        values = self.q("critic", seen, (torch.from_numpy(batch.actions) - center) / half)
        self.errors = sum((value - wanted).abs() for value in values)[:, 0].detach() / 2
        loss = 0.5 * sum((weights * (value - wanted).square()).mean() for value in values)
        critics = [p for k in (1, 2) for p in self.nets[f"critic_{k}"].parameters()]
        self._descend(critics, loss, learning_rate)
        actions, logp = self.draw(seen, noise[0])
        loss = (alpha * logp - torch.minimum(*self.q("critic", seen, actions))).mean()
        self._descend(list(self.nets["actor"].parameters()), loss, learning_rate)
        loss = -(self.log_alpha * (logp.detach() + target_entropy).mean()).sum()
        self._descend([self.log_alpha], loss, learning_rate)
        with torch.no_grad():
            for k in (1, 2):
                trained = self.nets[f"critic_{k}"].parameters()
                for target, p in zip(self.nets[f"target_{k}"].parameters(), trained, strict=True):
                    target.lerp_(p, tau)

    def _descend(self, parameters, loss, learning_rate):
        """Adam's first step."""
        self.gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, self.gradients, strict=True):
                parameter -= learning_rate * gradient / (gradient.abs() + 1e-8)

    def model(self):
        arrays = {"log_alpha": self.log_alpha.detach().numpy()}
        for name, net in self.nets.items():
            for index, layer in enumerate(net[::2]):
                arrays[f"{name}.{index}.weight"] = layer.weight.detach().numpy()
                arrays[f"{name}.{index}.bias"] = layer.bias.detach().numpy()
        return arrays


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(("threads", "chunk"), [(1, 1024), (2, 1024), (3, 4)])
def test_a_step_is_the_one_that_autograd_makes(rings, monkeypatch, threads, chunk, activation):
    monkeypatch.setattr(sac_chunks, "CHUNK", chunk)
    learner, replay, _ = learner_and_replay(rings, threads, activation=activation, n_step=2)
    reference = Reference(learner.state().model, activation)
    recorded = Recorded(replay)
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = learner.state().record["generator"]
    learner.update(recorded)
    noise = torch.from_numpy(generator.standard_normal((2, 30, 2), dtype=np.float32))
    reference.step(recorded.batch, noise, 3e-4, 0.005, -2.0)
    np.testing.assert_allclose(recorded.errors, reference.errors, rtol=1e-4, atol=1e-5)
    expected = reference.model()
    for name, array in learner.state().model.items():
        # Adam's first step goes by the gradient's sign: a sum of almost 0 may round to either.
        wrong = np.abs(array - expected[name]) > 1e-5
        assert wrong.mean() < 0.005, name
    assert learner.metrics()["alpha"] == 1.0


def test_gradients_are_autograds(rings):
    learner, replay, _ = learner_and_replay(rings, threads=2)
    for _ in range(5):  # away from the first step, where only signs count
        learner.update(replay)
    reference, recorded = Reference(learner.state().model, "relu"), Recorded(replay)
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = learner.state().record["generator"]
    before = learner.state().optimizer
    learner.update(recorded)
    after = learner.state().optimizer
    noise = torch.from_numpy(generator.standard_normal((2, 30, 2), dtype=np.float32))
    # An actor's mean moves by a tenth of the way to its gradient. Critics first: they must have
    # moved before the actor is looked at, so their learned weights are taken over.
    actor = (after["actor.mean"] - before["actor.mean"] * np.float32(0.9)) * 10
    trained = learner.state().model
    reference.nets["critic_1"] = reference._module(trained, "critic_1")
    reference.nets["critic_2"] = reference._module(trained, "critic_2")
    seen = torch.from_numpy(recorded.batch.observations)
    actions, logp = reference.draw(seen, noise[0])
    alpha = math.exp(reference.log_alpha.item())
    loss = (alpha * logp - torch.minimum(*reference.q("critic", seen, actions))).mean()
    layers = reference.nets["actor"][::2]
    gradients = torch.autograd.grad(loss, [p for layer in layers for p in layer.parameters()])
    flat = [
        torch.cat((weight.t(), bias[None])).flatten()
        for weight, bias in zip(gradients[::2], gradients[1::2], strict=True)
    ]
    np.testing.assert_allclose(actor, torch.cat(flat).numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_goes_on_bit_for_bit(rings, threads, prioritized):
    one, replay, stream = learner_and_replay(rings, threads, prioritized=prioritized)
    for _ in range(5):
        one.update(replay)
    other, _, _ = learner_and_replay(rings, threads, prioritized=prioritized)
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


def test_a_fixed_alpha_stays(rings):
    learner, replay, _ = learner_and_replay(rings, alpha=0.25)
    for _ in range(3):
        learner.update(replay)
    assert learner.metrics()["alpha"] == pytest.approx(0.25)


def test_metrics_are_means_since_the_last_call(rings):
    learner, replay, _ = learner_and_replay(rings)
    assert learner.metrics() == {"updates": 0.0}
    learner.update(replay)
    first = learner.metrics()
    assert first["updates"] == 1 and math.isfinite(first["critic_loss"])
    assert learner.metrics() == {"updates": 1.0}


def test_learns_which_action_is_best(rings):
    """Rewards -|action - 1| in episodes of one step: the best action is the same everywhere."""
    config = SACConfig(**(SMALL | {"learning_rate": 3e-3, "batch_size": 64, "gamma": 0.0}))
    learner = SACLearner(config, CONTINUOUS, root_seed=0, threads=1)
    stream = rings.make_stream(8, 50, 2, CONTINUOUS)
    rings.write(stream, 7, np.random.default_rng(0))
    rows, center = stream.rows, np.array([0.0, 1.0])
    rows.actions[:] = np.random.default_rng(1).uniform(-1, 1, rows.actions.shape) * 2 + center
    rows.rewards[:] = -np.abs(rows.actions - 1).sum(-1)
    replay = learner.memory.open([stream], [])
    for _ in range(800):
        learner.update(replay)
    policy = config.make_policy(CONTINUOUS)
    policy.load(learner.weights().arrays)
    seen = np.random.default_rng(2).normal(size=(100, 3)).astype(np.float32)
    np.testing.assert_allclose(policy.best(seen), 1.0, atol=0.25)


def test_refuses_images():
    image = Spaces(ObservationSpec("numeric", (84, 84, 4), "uint8"), CONTINUOUS.action)
    with pytest.raises(UserError, match="not from images"):
        SACLearner(SACConfig(**SMALL), image, 0, 1)

"""MADDPG: an agent's update against torch's autograd, joint replay against a slow search."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from covey.algorithms.joint_replay import JointReplay
from covey.algorithms.maddpg_row import row_of
from covey.algorithms.maddpg_update import AgentUpdate, UpdateSettings
from covey.platform.seeds import derive

AGENTS, SEEN, ACTING, SIZE = 3, 7, 4, 32
ROW = row_of(AGENTS, SEEN, ACTING, (12, 9))


def settings(discrete, **changed):
    given = {
        "row": ROW,
        "discrete": discrete,
        "learning_rate": 1e-2,
        "gamma": 0.9,
        "tau": 0.05,
        "max_norm": 0.5,
        "head_penalty": 1e-1,
        "seed": 5,
    }
    return UpdateSettings(**given | changed)


def snapshot(discrete, seed=0):
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (SIZE, AGENTS, ACTING))
    if discrete:
        actions = np.eye(ACTING)[generator.integers(ACTING, size=(SIZE, AGENTS))]
    found = {
        "rows": np.stack([ROW.initial(generator) for _ in range(AGENTS)]),
        "observations": generator.standard_normal((SIZE, AGENTS, SEEN)),
        "actions": actions,
        "rewards": 20 * generator.standard_normal((SIZE, AGENTS)),
        "ended": generator.random((SIZE, AGENTS)) < 0.3,
        "next_observations": generator.standard_normal((SIZE, AGENTS, SEEN)),
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


class Reference:
    """The same update with torch's modules, autograd and Adam, over several steps."""

    def __init__(self, given, row, agent):
        self.given, self.agent = given, agent
        self.nets = [self._net(net) for net in (ROW.actor, ROW.critic, ROW.actor, ROW.critic)]
        for net, vector in zip(self.nets, ROW.split(row), strict=False):
            torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.copy()), net.parameters())
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=given.learning_rate) for net in self.nets[:2]
        ]

    @staticmethod
    def _net(shape):
        layers = []
        for n, m in zip(shape.widths, shape.widths[1:], strict=False):
            layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def acted(self, heads, noise):
        if not self.given.discrete:
            return torch.tanh(heads)
        uniform = noise.random(tuple(heads.shape), dtype=np.float32)
        gumbel = torch.from_numpy(-np.log(-np.log(uniform)))
        return torch.softmax(heads + gumbel, dim=-1)

    def step(self, batch, targets, iteration):
        given, agent = self.given, self.agent
        actor, critic, late_actor, late_critic = self.nets
        noise = np.random.Generator(np.random.PCG64(derive(given.seed, "noise", iteration, agent)))
        batch = {name: torch.from_numpy(array) for name, array in batch.items()}
        with torch.no_grad():
            seen = batch["next_observations"]
            heads = [target(seen[:, k]) for k, target in enumerate(targets)]
            following = self.acted(torch.stack(heads, dim=1), noise)
            later = late_critic(torch.cat([seen.flatten(1), following.flatten(1)], 1))[:, 0]
            alive = 1 - batch["ended"][:, agent]
            wanted = batch["rewards"][:, agent] + given.gamma * alive * later
        seen = batch["observations"]
        values = critic(torch.cat([seen.flatten(1), batch["actions"].flatten(1)], 1))[:, 0]
        self._descend(1, functional.mse_loss(values, wanted))
        head = actor(seen[:, agent])
        actions = batch["actions"].clone()
        actions[:, agent] = self.acted(head, noise)
        values = critic(torch.cat([seen.flatten(1), actions.flatten(1)], 1))
        self._descend(0, -values.mean() + given.head_penalty * head.square().mean())
        with torch.no_grad():
            for late, net in ((late_actor, actor), (late_critic, critic)):
                for old, new in zip(late.parameters(), net.parameters(), strict=True):
                    old.lerp_(new, given.tau)

    def _descend(self, which, loss):
        net, optimizer = self.nets[which], self.optimizers[which]
        optimizer.zero_grad()
        loss.backward()
        for variable in net.parameters():
            torch.nn.utils.clip_grad_norm_([variable], self.given.max_norm)
        optimizer.step()

    def vectors(self):
        return [
            torch.nn.utils.parameters_to_vector(net.parameters()).detach().numpy()
            for net in self.nets
        ]


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("max_norm", [0.05, 100.0])
def test_updates_are_those_of_autograd(discrete, max_norm):
    given = settings(discrete, max_norm=max_norm)
    update = AgentUpdate(given)
    rows = snapshot(discrete)["rows"]
    references = [Reference(given, row, agent) for agent, row in enumerate(rows)]
    for iteration in range(4):
        batch = snapshot(discrete, seed=iteration) | {
            "rows": rows,
            "number": np.array([iteration]),
        }
        frozen = {name: array.copy() for name, array in batch.items()}
        rows = np.stack([update.compute(batch, agent) for agent in range(AGENTS)])
        for name, array in batch.items():
            np.testing.assert_array_equal(array, frozen.pop(name))  # the snapshot stays as it is
        targets = [deepcopy(reference.nets[2]) for reference in references]
        given_batch = {
            name: array for name, array in batch.items() if name not in ("rows", "number")
        }
        for reference in references:
            reference.step(given_batch, targets, iteration)
        for row, reference in zip(rows, references, strict=True):
            for ours, theirs in zip(ROW.split(row), reference.vectors(), strict=False):
                np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert (rows[:, -1] == 4).all()


@pytest.mark.parametrize("blocks", [2, 9])
def test_moments_are_those_of_whole_environments(rings, spaces, blocks):
    """Archives too; each with its own number of environments of two agents."""
    generator = np.random.default_rng(blocks)
    spaces = replace(spaces, agents=2)
    streams = [rings.make_stream(4, 6, columns, spaces) for columns in (2, 6, 4)]
    expected = {}
    for stream in streams:
        rings.write(stream, blocks, generator)
        expected |= slow_moments(stream, agents=2)
    replay = JointReplay(streams[:2], streams[2:], 10**6, generator, spaces)
    seen = set()
    for _ in range(40):
        batch = replay.sample_joint(64)
        for k in range(64):
            moment = tuple(batch.observations[k, :, 0])
            for found, wanted in zip(parts_of(batch, k), expected[moment], strict=True):
                np.testing.assert_array_equal(found.ravel(), wanted.ravel())
            seen.add(moment)
    assert seen == set(expected)


def parts_of(batch, k):
    return (
        batch.observations[k],
        batch.actions[k],
        batch.rewards[k],
        batch.terminated[k],
        batch.next_observations[k],
    )


def slow_moments(stream, agents):
    """All moments at which every agent was there, by the first number that each saw."""
    rows, ring = stream.rows, len(stream.rows.rewards)
    found = {}
    for row in range(stream.oldest_row, stream.rows_written):
        at = row % ring
        for first in range(0, rows.rewards.shape[1], agents):
            own = slice(first, first + agents)
            if rows.valid[at, own].all():
                moment = tuple(rows.observations[at, own, 0])
                found[moment] = (
                    rows.observations[at, own],
                    rows.actions[at, own],
                    rows.rewards[at, own],
                    rows.terminated[at, own],
                    rows.observations[at + 1, own],
                )
    return found


def test_nothing_to_sample_is_said(rings, spaces):
    spaces, generator = replace(spaces, agents=2), np.random.default_rng(0)
    replay = JointReplay([rings.make_stream(4, 6, 2, spaces)], [], 100, generator, spaces)
    with pytest.raises(ValueError, match="holds no transition yet"):
        replay.sample_joint(4)

"""MADDPG (Lowe et al. 2017): one agent's update, as a pure function of a snapshot of all agents.

The snapshot is frozen and the noise is seeded by iteration and agent, so whoever computes an
agent's update, and in whatever order, gets the same bits. The optimiser's state is part of the
agent's row: it travels with the parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from covey.algorithms.adam import BETA_1, BETA_2
from covey.algorithms.maddpg_row import MLP, Row
from covey.platform.seeds import derive

EPSILON = 1e-8


def forward(network: MLP, vector: Tensor, rows: Tensor) -> Tensor:
    """Rows [N, first width] through a network, ReLU between its layers: [N, last width]."""
    variables = vector.split(network.sizes)
    layers = len(network.widths) - 1
    for layer, (width, following) in enumerate(pairwise(network.widths)):
        weight = variables[2 * layer].view(following, width)
        rows = functional.linear(rows, weight, variables[2 * layer + 1])
        if layer < layers - 1:
            rows = functional.relu(rows)
    return rows


@dataclass(frozen=True)
class UpdateSettings:
    """What an update depends on besides the snapshot."""

    row: Row
    discrete: bool
    learning_rate: float
    gamma: float
    tau: float
    max_norm: float
    regularization: float
    seed: int


class AgentUpdate:
    """`compute` an agent's next row. See `Tasks`: tasks are agents."""

    def __init__(self, settings: UpdateSettings) -> None:
        self._settings = settings

    def compute(
        self, snapshot: Mapping[str, NDArray[Any]], iteration: int, task: int
    ) -> NDArray[np.float32]:
        """The row [P] of agent `task` after a gradient step of its critic and its actor.

        The snapshot holds `rows` [A, P] and a minibatch: `observations` and `next_observations`
        [N, A, S], `actions` [N, A, K], `rewards` and `ended` [N, A].
        """
        settings = self._settings
        generator = Generator(PCG64(derive(settings.seed, "noise", iteration, task)))
        row = torch.from_numpy(snapshot["rows"][task].copy()).split(settings.row.sizes)
        batch = {
            name: torch.from_numpy(np.asarray(snapshot[name]))
            for name in ("observations", "actions", "rewards", "ended", "next_observations")
        }
        self._critic_step(row, batch, self._target_actions(snapshot, batch, generator), task)
        self._actor_step(row, batch, generator, task)
        with torch.no_grad():
            actor, critic, target_actor, target_critic = row[:4]
            target_actor.lerp_(actor, settings.tau)
            target_critic.lerp_(critic, settings.tau)
            row[8].add_(1)
        return torch.cat(row).numpy()

    @torch.no_grad()
    def _target_actions(
        self, snapshot: Mapping[str, NDArray[Any]], batch: Mapping[str, Tensor], noise: Generator
    ) -> Tensor:
        """What all agents' target policies do next: [N, A, K]."""
        row, following = self._settings.row, batch["next_observations"]
        targets = [one.split(row.sizes)[2] for one in torch.from_numpy(snapshot["rows"])]
        heads = [forward(row.actor, one, following[:, j]) for j, one in enumerate(targets)]
        return self._acted(torch.stack(heads, dim=1), noise)

    def _acted(self, heads: Tensor, noise: Generator) -> Tensor:
        """Actions [..., K] of the policy's heads: a relaxed sample of discrete ones (Gumbel-softmax
        at temperature 1), or squashed into [-1, 1].
        """
        if not self._settings.discrete:
            return torch.tanh(heads)
        uniform = torch.from_numpy(noise.random(tuple(heads.shape), dtype=np.float32))
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
        return torch.softmax(heads + gumbel, dim=-1)

    def _critic_step(
        self, row: tuple[Tensor, ...], batch: Mapping[str, Tensor], following: Tensor, agent: int
    ) -> None:
        settings, critic = self._settings, self._settings.row.critic
        with torch.no_grad():
            later = forward(critic, row[3], joint(batch["next_observations"], following))[:, 0]
            alive = 1 - batch["ended"][:, agent]
            wanted = batch["rewards"][:, agent] + settings.gamma * alive * later
        vector = row[1].detach().clone().requires_grad_()
        values = forward(critic, vector, joint(batch["observations"], batch["actions"]))[:, 0]
        functional.mse_loss(values, wanted).backward()  # type: ignore[no-untyped-call]
        assert vector.grad is not None
        self._descend(critic, row[1], vector.grad, row[6], row[7], row[8])

    def _actor_step(
        self, row: tuple[Tensor, ...], batch: Mapping[str, Tensor], noise: Generator, agent: int
    ) -> None:
        settings = self._settings
        vector = row[0].detach().clone().requires_grad_()
        head = forward(settings.row.actor, vector, batch["observations"][:, agent])
        actions = batch["actions"].clone()
        actions[:, agent] = self._acted(head, noise)
        values = forward(settings.row.critic, row[1], joint(batch["observations"], actions))
        loss = -values.mean() + settings.regularization * head.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        assert vector.grad is not None
        self._descend(settings.row.actor, row[0], vector.grad, row[4], row[5], row[8])

    @torch.no_grad()
    def _descend(
        self,
        network: MLP,
        vector: Tensor,
        gradient: Tensor,
        mean: Tensor,
        square: Tensor,
        steps: Tensor,
    ) -> None:
        """A step of Adam, each variable's gradient shortened to `max_norm`."""
        settings = self._settings
        for part in gradient.split(network.sizes):
            part.mul_(settings.max_norm / part.norm().clamp(min=settings.max_norm))
        mean.lerp_(gradient, 1 - BETA_1)
        square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        taken = int(steps[0]) + 1
        size = settings.learning_rate / (1 - BETA_1**taken)
        scale = float(np.sqrt(1 - BETA_2**taken))
        vector.addcdiv_(mean, (square.sqrt() / scale).add_(EPSILON), value=-size)


def joint(observations: Tensor, actions: Tensor) -> Tensor:
    """What a critic sees: everything, [N, A * (S + K)]."""
    return torch.cat([observations.flatten(1), actions.flatten(1)], dim=1)

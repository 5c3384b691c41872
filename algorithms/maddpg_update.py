"""MADDPG (Lowe et al. 2017): one agent's update, as a pure function of a snapshot of all agents.

The snapshot is frozen and the noise is seeded by its number and agent, so whoever computes an
agent's update, and in whatever order, gets the same bits. In plain numpy: for networks of this size
that is as fast as torch, and a worker that only computes these starts in half a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from covey.algorithms.maddpg_row import MLP, Floats, Row
from covey.platform.seeds import derive

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class UpdateSettings:
    """What an update depends on besides the snapshot."""

    row: Row
    discrete: bool
    learning_rate: float
    gamma: float
    tau: float
    max_norm: float
    head_penalty: float
    seed: int


class AgentUpdate:
    """`compute` an agent's next row. See `Tasks`: tasks are agents."""

    def __init__(self, settings: UpdateSettings) -> None:
        self._settings = settings

    def compute(self, snapshot: Mapping[str, NDArray[Any]], task: int) -> Floats:
        """The row [P] of agent `task` after a gradient step of its critic and then its actor.

        The snapshot holds `number` [1] of the update, `rows` [A, P] and a minibatch: `observations`
        and `next_observations` [N, A, S], `actions` [N, A, K], `rewards` and `ended` [N, A].
        """
        settings = self._settings
        number = int(snapshot["number"][0])
        noise = Generator(PCG64(derive(settings.seed, "noise", number, task)))
        following = self._target_actions(snapshot, noise)
        row: Floats = snapshot["rows"][task].copy()
        actor, critic, late_actor, late_critic, *averages, steps = settings.row.split(row)
        steps += 1
        self._critic_step(critic, late_critic, averages[2:], snapshot, following, task, steps[0])
        self._actor_step(actor, critic, averages[:2], snapshot, noise, task, steps[0])
        late_actor += settings.tau * (actor - late_actor)
        late_critic += settings.tau * (critic - late_critic)
        return row

    def _target_actions(self, snapshot: Mapping[str, NDArray[Any]], noise: Generator) -> Floats:
        """What all agents' target policies do next: [N, A, K]."""
        row, seen = self._settings.row, snapshot["next_observations"]
        heads = [
            forward(row.actor, row.split(own)[2], seen[:, agent])[-1]
            for agent, own in enumerate(snapshot["rows"])
        ]
        return self._acted(np.stack(heads, axis=1), noise)

    def _acted(self, heads: Floats, noise: Generator) -> Floats:
        """Actions [..., K] of the policy's heads: a relaxed sample of discrete ones (Gumbel-softmax
        at temperature 1), or squashed into [-1, 1].
        """
        if not self._settings.discrete:
            squashed: Floats = np.tanh(heads)
            return squashed
        uniform = np.maximum(noise.random(heads.shape, dtype=np.float32), np.float32(1e-10))
        logits = heads - np.log(-np.log(uniform))
        logits -= logits.max(axis=-1, keepdims=True)
        sample: Floats = np.exp(logits, out=logits)
        sample /= sample.sum(axis=-1, keepdims=True)
        return sample

    def _critic_step(
        self,
        vector: Floats,
        late: Floats,
        averages: Sequence[Floats],
        batch: Mapping[str, NDArray[Any]],
        following: Floats,
        agent: int,
        steps: float,
    ) -> None:
        settings, network = self._settings, self._settings.row.critic
        later = forward(network, late, joint(batch["next_observations"], following))[-1][:, 0]
        alive = 1 - batch["ended"][:, agent]
        wanted = batch["rewards"][:, agent] + np.float32(settings.gamma) * alive * later
        layers = forward(network, vector, joint(batch["observations"], batch["actions"]))
        slope = (layers[-1] - wanted[:, None]) * np.float32(2 / len(wanted))
        gradient, _ = backward(network, vector, layers, slope)
        self._descend(network, vector, gradient, averages, steps)

    def _actor_step(
        self,
        vector: Floats,
        critic: Floats,
        averages: Sequence[Floats],
        batch: Mapping[str, NDArray[Any]],
        noise: Generator,
        agent: int,
        steps: float,
    ) -> None:
        row, count = self._settings.row, len(batch["rewards"])
        policy = forward(row.actor, vector, batch["observations"][:, agent])
        head = policy[-1]
        actions = batch["actions"].copy()
        actions[:, agent] = own = self._acted(head, noise)
        values = forward(row.critic, critic, joint(batch["observations"], actions))
        slope = np.full((count, 1), -1 / count, np.float32)
        _, slopes = backward(row.critic, critic, values, slope)
        first = batch["observations"][0].size + agent * own.shape[1]
        slope = self._through_action(own, slopes[:, first : first + own.shape[1]])
        slope += np.float32(2 * self._settings.head_penalty / head.size) * head
        gradient, _ = backward(row.actor, vector, policy, slope)
        self._descend(row.actor, vector, gradient, averages, steps)

    def _through_action(self, action: Floats, slope: Floats) -> Floats:
        """A loss's slope in the heads, given that in the actions."""
        if not self._settings.discrete:
            return slope * (1 - action * action)
        slopes: Floats = action * (slope - (action * slope).sum(axis=1, keepdims=True))
        return slopes

    def _descend(
        self,
        network: MLP,
        vector: Floats,
        gradient: Floats,
        averages: Sequence[Floats],
        steps: float,
    ) -> None:
        """A step of Adam, each variable's gradient shortened to `max_norm`."""
        settings, (mean, square) = self._settings, averages
        for variable in network.split(gradient):
            norm = np.sqrt(np.square(variable).sum())
            variable *= np.float32(settings.max_norm) / max(norm, np.float32(settings.max_norm))
        mean += np.float32(1 - BETA_1) * (gradient - mean)
        square += np.float32(1 - BETA_2) * (gradient * gradient - square)
        size = settings.learning_rate / (1 - BETA_1**steps)
        scale = np.float32(np.sqrt(1 - BETA_2**steps))
        vector -= np.float32(size) * mean / (np.sqrt(square) / scale + np.float32(EPSILON))


def joint(observations: Floats, actions: Floats) -> Floats:
    """What a critic sees: everything, [N, A * (S + K)]."""
    count = len(observations)
    return np.concatenate([observations.reshape(count, -1), actions.reshape(count, -1)], axis=1)


def forward(network: MLP, vector: Floats, rows: Floats) -> list[Floats]:
    """What each layer of a network puts out for rows [N, first width], these in front; ReLU lies
    between the layers.
    """
    layers = [rows]
    variables = network.split(vector)
    for weight, bias in zip(variables[::2], variables[1::2], strict=True):
        rows = layers[-1] @ weight.T
        rows += bias
        if len(layers) < len(network.widths) - 1:
            np.maximum(rows, 0, out=rows)
        layers.append(rows)
    return layers


def backward(
    network: MLP, vector: Floats, layers: Sequence[Floats], slope: Floats
) -> tuple[Floats, Floats]:
    """The gradient in the parameters, and the slope in the rows, given that in what a network put
    out.
    """
    gradient = np.empty_like(vector)
    parts, variables = network.split(gradient), network.split(vector)
    for layer in reversed(range(len(layers) - 1)):
        np.matmul(slope.T, layers[layer], out=parts[2 * layer])
        slope.sum(axis=0, out=parts[2 * layer + 1])
        slope = slope @ variables[2 * layer]
        if layer:
            slope *= layers[layer] > 0
    return gradient, slope

"""The gradients of SAC's two losses over a share of a minibatch (Haarnoja et al. 2018, second
version, equations 5 and 9), without autograd.

A minibatch is cut into shares, one a thread, and a large share into chunks, to keep the memory for
what is in between small. Shapes: N rows, S numbers of an observation, A of an
action. An input row is [observation, 1, action]: its first S+1 numbers are the actor's input, all
are a critic's.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.flat_mlp import Activation, FlatMlp, Pass, size, views
from covey.algorithms.sac_losses import critic_slopes, smaller, soft_target
from covey.algorithms.squashed_gaussian import head_slopes, squash

Array = NDArray[np.float32]
CHUNK = 4096
"""At most so many rows. Fewer would stay in a core's cache, but read the weights more often: from
512 to 4096 rows, a minibatch of 8192 took a seventh less time.
"""


class Widths(NamedTuple):
    """What shapes the networks: numbers of an observation and an action, hidden layers."""

    seen: int
    acting: int
    hidden: tuple[int, ...]

    @property
    def actor(self) -> tuple[int, ...]:
        return (self.seen, *self.hidden, 2 * self.acting)

    @property
    def critic(self) -> tuple[int, ...]:
        return (self.seen + self.acting, *self.hidden, 1)


class Networks:
    """Actor, twin critics and their targets; each kind's parameters are one flat vector."""

    def __init__(self, widths: Widths, activation: Activation) -> None:
        self.widths, self.activation = widths, activation
        self.actor_vector = torch.zeros(size(widths.actor))
        self.critic_vector = torch.zeros(2 * size(widths.critic))
        self.target_vector = torch.zeros_like(self.critic_vector)
        self.actor = FlatMlp(self.actor_vector, widths.actor, activation)
        self.critics = self._twins(self.critic_vector)
        self.targets = self._twins(self.target_vector)

    @property
    def vectors(self) -> tuple[Tensor, ...]:
        """All parameters."""
        return self.actor_vector, self.critic_vector, self.target_vector

    def _twins(self, vector: Tensor) -> tuple[FlatMlp, FlatMlp]:
        widths = self.widths
        first, second = (
            FlatMlp(half, widths.critic, self.activation, ones_at=widths.seen)
            for half in vector.view(2, -1)
        )
        return first, second


class Data(NamedTuple):
    """A minibatch, or rows of it: inputs [N, S+1+A] before and after the step, the rest [N, 1].

    `noise` and `next_noise` [N, A] are what actions are drawn with; `errors` is written.
    """

    inputs: Tensor
    next_inputs: Tensor
    rewards: Array
    discounts: Array
    weights: Array
    noise: Array
    next_noise: Array
    errors: Array

    def rows(self, first: int, last: int) -> "Data":
        """Views of the rows [first, last)."""
        parts: Any = (part[first:last] for part in self)  # each of its own kind
        return Data(*parts)


class CriticSums(NamedTuple):
    """Sums over rows: squared errors of both critics, and the first one's values."""

    loss: float
    values: float


class ActorSums(NamedTuple):
    """Sums over rows: of the actor's loss, and of log-probabilities."""

    loss: float
    logp: float


class Share:
    """One thread's rows of every minibatch, and its gradients as flat vectors."""

    def __init__(self, networks: Networks, data: Data, batch_size: int) -> None:
        widths = networks.widths
        self._networks, self._batch_size = networks, batch_size
        self.actor_gradient = torch.zeros_like(networks.actor_vector)
        self.critic_gradient = torch.zeros_like(networks.critic_vector)
        self._actor_views = views(self.actor_gradient, widths.actor)
        self._critic_views = [
            views(half, widths.critic) for half in self.critic_gradient.view(2, -1)
        ]
        count = len(data.inputs)
        cuts = [count * k // -(-count // CHUNK) for k in range(-(-count // CHUNK) + 1)]
        rooms: dict[int, Room] = {}
        self._chunks: list[Chunk] = []
        for first, last in pairwise(cuts):
            room = rooms.setdefault(last - first, Room(networks, last - first))
            self._chunks.append(Chunk(networks, data.rows(first, last), room, batch_size))

    def critic_step(self, alpha: float) -> CriticSums:
        """Write `critic_gradient` and the rows' errors."""
        sums = [
            chunk.critics(alpha, self._critic_views, beta=float(index > 0))
            for index, chunk in enumerate(self._chunks)
        ]
        return CriticSums(*map(sum, zip(*sums, strict=True)))

    def actor_step(self, alpha: float) -> ActorSums:
        """Write `actor_gradient`. The inputs' actions are replaced by the policy's."""
        sums = [
            chunk.actor(alpha, self._actor_views, beta=float(index > 0))
            for index, chunk in enumerate(self._chunks)
        ]
        return ActorSums(*map(sum, zip(*sums, strict=True)))


class Room:
    """Memory for a chunk of `rows` rows; chunks that follow each other share it."""

    def __init__(self, networks: Networks, rows: int) -> None:
        widths = networks.widths
        self.actor = Pass(rows, widths.actor, networks.activation)
        self.critics = tuple(Pass(rows, widths.critic, networks.activation) for _ in range(2))
        self.by_actions = torch.zeros(rows, widths.acting)
        self.by_head = torch.zeros(rows, 2 * widths.acting)
        self.by_values = torch.zeros(rows, 1)
        self.chosen = torch.zeros(2, rows, dtype=torch.int64)
        self.spread = np.zeros((rows, widths.acting), np.float32)
        self.logp, self.wanted = np.zeros((2, rows, 1), np.float32)
        self.by_actions_array: Array = self.by_actions.numpy()
        self.by_head_array: Array = self.by_head.numpy()
        self.by_values_array: Array = self.by_values.numpy()
        self.chosen_array: NDArray[np.int64] = self.chosen.numpy()


class Chunk:
    """Rows that go through all products of a loss before the next ones do."""

    def __init__(self, networks: Networks, data: Data, room: Room, batch_size: int) -> None:
        self._networks, self._data, self._room = networks, data, room
        self._scale = 1.0 / batch_size
        seen = networks.widths.seen
        self._seen, self._next_seen = data.inputs[:, : seen + 1], data.next_inputs[:, : seen + 1]
        self._actions: Array = data.inputs.numpy()[:, seen + 1 :]
        self._next_actions: Array = data.next_inputs.numpy()[:, seen + 1 :]
        self._to_actions = [critic.layers[0][seen + 1 :].t() for critic in networks.critics]

    def critics(self, alpha: float, gradients: list[list[Tensor]], beta: float) -> CriticSums:
        """Squared error against the soft value of what followed; gradients become beta times
        themselves plus this chunk's.
        """
        data, networks, room = self._data, self._networks, self._room
        values, loss = self._write_wanted(alpha), 0.0
        data.errors.fill(0)
        for critic, room_k, gradient in zip(networks.critics, room.critics, gradients, strict=True):
            room_k.forward(critic, data.inputs)
            loss += critic_slopes(
                room_k.values,
                room.wanted,
                data.weights,
                self._scale,
                data.errors,
                room.by_values_array,
            )
            room_k.backward(critic, data.inputs, room.by_values, gradient, beta)
        return CriticSums(loss, values)

    def _write_wanted(self, alpha: float) -> float:
        """What the critics' values should be, at a fresh next action; returns the sum."""
        data, networks, room = self._data, self._networks, self._room
        self._draw(self._next_seen, data.next_noise, self._next_actions)
        for target, room_k in zip(networks.targets, room.critics, strict=True):
            room_k.forward(target, data.next_inputs)
        first, second = room.critics
        return soft_target(
            data.rewards,
            data.discounts,
            first.values,
            second.values,
            room.logp,
            alpha,
            room.wanted,
        )

    def actor(self, alpha: float, gradient: list[Tensor], beta: float) -> ActorSums:
        """alpha * logp - the smaller critic's value, at fresh actions."""
        data, networks, room = self._data, self._networks, self._room
        self._draw(self._seen, data.noise, self._actions)
        for critic, room_k in zip(networks.critics, room.critics, strict=True):
            room_k.forward(critic, data.inputs)
        first, second = room.critics
        count, value = smaller(first.values, second.values, room.chosen_array)
        chosen = room.chosen[0, :count], room.chosen[1, : len(first.values) - count]
        for critic, room_k, rows, to_actions in zip(
            networks.critics, room.critics, chosen, self._to_actions, strict=True
        ):
            by_sums = room_k.backward_of(critic, rows, -self._scale)
            room.by_actions.index_copy_(0, rows, by_sums @ to_actions)
        head_slopes(
            room.actor.values,
            self._actions,
            room.spread,
            room.by_actions_array,
            alpha * self._scale,
            room.by_head_array,
        )
        logp = float(room.logp.sum())
        room.actor.backward(networks.actor, self._seen, room.by_head, gradient, beta)
        return ActorSums(alpha * logp - value, logp)

    def _draw(self, seen: Tensor, noise: Array, actions: Array) -> None:
        """Write the policy's actions where they belong, and the room's logp."""
        room = self._room
        room.actor.forward(self._networks.actor, seen)
        squash(room.actor.values, noise, actions, room.logp[:, 0], room.spread)

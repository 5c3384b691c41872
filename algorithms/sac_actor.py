"""The actor's side of SAC's gradients (Haarnoja et al. 2018, second version, equation 9), without
autograd: the policy's actions, and the way from the critics' slopes by them to the actor. Shapes as
in `sac_chunks.py`.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from covey.algorithms.flat_mlp import Pass, views
from covey.algorithms.sac_chunks import Array, Data, Rooms, chunks
from covey.algorithms.sac_losses import smaller
from covey.algorithms.sac_networks import Networks
from covey.algorithms.squashed_gaussian import head_slopes, squash


class ActorSums(NamedTuple):
    """Sums over rows: of the actor's loss, and of log-probabilities."""

    loss: float
    logp: float


class ActorShare:
    """One thread's rows of every minibatch, and the actor's gradient over them as a flat vector.

    `noise` [2, N, A] is what actions and next actions are drawn with. With `ahead` all chunks can
    `draw` before the first one is to `descend`, which takes memory for each of them.
    """

    def __init__(
        self,
        networks: Networks,
        data: Data,
        noise: Array,
        batch_size: int,
        rooms: Rooms,
        ahead: bool = False,
    ) -> None:
        self.gradient = torch.zeros_like(networks.actor_vector)
        self._views = views(self.gradient, networks.widths.actor)
        passes: dict[int, Pass] = {}
        self._chunks: list[ActorChunk] = []
        for index, (first, last) in enumerate(chunks(len(data.inputs))):
            key = index if ahead else last - first
            if key not in passes:
                passes[key] = Pass(last - first, networks.widths.actor, networks.activation)
            part = data.rows(first, last), noise[:, first:last]
            self._chunks.append(ActorChunk(networks, *part, batch_size, rooms, passes[key]))

    def follow(self) -> None:
        """Write the next actions and their log-probabilities."""
        for chunk in self._chunks:
            chunk.follow()

    def draw(self) -> None:
        """Write the policy's actions over the inputs'."""
        for chunk in self._chunks:
            chunk.draw()

    def descend(self, alpha: float) -> ActorSums:
        """Write the gradient at the actions that were drawn."""
        return self._summed([self._descend(index, alpha) for index in range(len(self._chunks))])

    def step(self, alpha: float) -> ActorSums:
        """Both, chunk by chunk."""
        sums = []
        for index, chunk in enumerate(self._chunks):
            chunk.draw()
            sums.append(self._descend(index, alpha))
        return self._summed(sums)

    def _descend(self, index: int, alpha: float) -> ActorSums:
        return self._chunks[index].descend(alpha, self._views, beta=float(index > 0))

    @staticmethod
    def _summed(sums: list[ActorSums]) -> ActorSums:
        return ActorSums(*map(sum, zip(*sums, strict=True)))


class ActorChunk:
    """Rows that go through all products of the loss before the next ones do."""

    def __init__(
        self,
        networks: Networks,
        data: Data,
        noise: Array,
        batch_size: int,
        rooms: Rooms,
        room: Pass,
    ) -> None:
        rows, widths = len(data.inputs), networks.widths
        seen, acting = widths.seen, widths.acting
        self._networks, self._data, self._scale = networks, data, 1.0 / batch_size
        self._noise, self._next_noise = noise
        self._actor, self._critics = room, rooms.of(rows)
        self._seen, self._next_seen = data.inputs[:, : seen + 1], data.next_inputs[:, : seen + 1]
        self._actions: Array = data.inputs.numpy()[:, seen + 1 :]
        self._next_actions: Array = data.next_inputs.numpy()[:, seen + 1 :]
        self._to_actions = [critic.layers[0][seen + 1 :].t() for critic in networks.critics]
        self._by_actions = torch.zeros(rows, acting)
        self._by_head = torch.zeros(rows, 2 * acting)
        self._chosen = torch.zeros(2, rows, dtype=torch.int64)
        self._spread, self._logp = np.zeros((rows, acting), np.float32), np.zeros(rows, np.float32)
        self._by_actions_array: Array = self._by_actions.numpy()
        self._by_head_array: Array = self._by_head.numpy()
        self._chosen_array: NDArray[np.int64] = self._chosen.numpy()

    def follow(self) -> None:
        """Write the next actions and their log-probabilities."""
        data = self._data
        self._draw(self._next_seen, self._next_noise, self._next_actions, data.next_logp[:, 0])

    def draw(self) -> None:
        """Write the policy's actions over the inputs'."""
        self._draw(self._seen, self._noise, self._actions, self._logp)

    def descend(self, alpha: float, gradient: list[Tensor], beta: float) -> ActorSums:
        """alpha * logp - the smaller critic's value, at the actions drawn last; the gradient
        becomes beta times itself plus this chunk's.
        """
        value = self._write_by_actions()
        head_slopes(
            self._actor.values,
            self._actions,
            self._spread,
            self._by_actions_array,
            alpha * self._scale,
            self._by_head_array,
        )
        logp = float(self._logp.sum())
        self._actor.backward(self._networks.actor, self._seen, self._by_head, gradient, beta)
        return ActorSums(alpha * logp - value, logp)

    def _write_by_actions(self) -> float:
        """The slopes of minus the smaller value by the actions; returns the sum of the values."""
        data, networks, by_actions = self._data, self._networks, self._by_actions
        for critic, room in zip(networks.critics, self._critics, strict=True):
            room.forward(critic, data.inputs)
        first, second = self._critics
        count, value = smaller(first.values, second.values, self._chosen_array)
        chosen = self._chosen[0, :count], self._chosen[1, : len(first.values) - count]
        for critic, room, rows, to_actions in zip(
            networks.critics, self._critics, chosen, self._to_actions, strict=True
        ):
            by_sums = room.backward_of(critic, rows, -self._scale)
            by_actions.index_copy_(0, rows, by_sums @ to_actions)
        return value

    def _draw(self, seen: Tensor, noise: Array, actions: Array, logp: Array) -> None:
        self._actor.forward(self._networks.actor, seen)
        squash(self._actor.values, noise, actions, logp, self._spread)

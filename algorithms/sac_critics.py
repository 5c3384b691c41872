"""The critics' side of SAC's gradients (Haarnoja et al. 2018, second version, equation 5), without
autograd. Shapes as in `sac_chunks.py`.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from covey.algorithms.flat_mlp import views
from covey.algorithms.sac_chunks import Array, Data, Rooms, chunks
from covey.algorithms.sac_losses import critic_slopes, soft_target
from covey.algorithms.sac_networks import CriticNetworks


class CriticSums(NamedTuple):
    """Sums over rows: squared errors of both critics, and what the first one's values should be."""

    loss: float
    values: float


class CriticShare:
    """One thread's rows of every minibatch, and the critics' gradient over them, flat."""

    def __init__(self, networks: CriticNetworks, data: Data, batch_size: int, rooms: Rooms) -> None:
        self.gradient = torch.zeros_like(networks.critic_vector)
        self._views = [views(half, networks.widths.critic) for half in self.gradient.view(2, -1)]
        self._chunks = [
            CriticChunk(networks, data.rows(first, last), batch_size, rooms)
            for first, last in chunks(len(data.inputs))
        ]

    def step(self, alpha: float) -> CriticSums:
        """Write the gradient and the rows' errors; the next actions are there."""
        sums = [
            chunk.descend(alpha, self._views, beta=float(index > 0))
            for index, chunk in enumerate(self._chunks)
        ]
        return CriticSums(*map(sum, zip(*sums, strict=True)))


class CriticChunk:
    """Rows that go through all products of the loss before the next ones do."""

    def __init__(self, networks: CriticNetworks, data: Data, batch_size: int, rooms: Rooms) -> None:
        rows = len(data.inputs)
        self._networks, self._data, self._passes = networks, data, rooms.of(rows)
        self._scale = 1.0 / batch_size
        self._wanted: Array = np.zeros((rows, 1), np.float32)
        self._by_values = torch.zeros(rows, 1)
        self._by_values_array: Array = self._by_values.numpy()

    def descend(self, alpha: float, gradients: list[list[Tensor]], beta: float) -> CriticSums:
        """Squared error against the soft value of what followed; gradients become beta times
        themselves plus this chunk's.
        """
        data, networks = self._data, self._networks
        values, loss = self._write_wanted(alpha), 0.0
        data.errors.fill(0)
        for critic, room, gradient in zip(networks.critics, self._passes, gradients, strict=True):
            room.forward(critic, data.inputs)
            loss += critic_slopes(
                room.values,
                self._wanted,
                data.weights,
                self._scale,
                data.errors,
                self._by_values_array,
            )
            room.backward(critic, data.inputs, self._by_values, gradient, beta)
        return CriticSums(loss, values)

    def _write_wanted(self, alpha: float) -> float:
        """What the critics' values should be, at the next action; returns the sum."""
        data, networks = self._data, self._networks
        for target, room in zip(networks.targets, self._passes, strict=True):
            room.forward(target, data.next_inputs)
        first, second = self._passes
        return soft_target(
            data.rewards,
            data.discounts,
            first.values,
            second.values,
            data.next_logp,
            alpha,
            self._wanted,
        )

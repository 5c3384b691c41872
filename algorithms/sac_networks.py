"""SAC's networks: an actor, twin critics and their targets, as perceptrons over flat vectors."""

from typing import NamedTuple

import torch
from torch import Tensor

from covey.algorithms.flat_mlp import Activation, FlatMlp, size


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


class CriticNetworks:
    """Twin critics and their targets. Each kind's parameters are one flat vector: a new one of
    zeros, or the one given.
    """

    def __init__(
        self,
        widths: Widths,
        activation: Activation,
        critic_vector: Tensor | None = None,
        target_vector: Tensor | None = None,
    ) -> None:
        self.widths, self.activation = widths, activation
        zeros = torch.zeros(2 * size(widths.critic))
        self.critic_vector = zeros if critic_vector is None else critic_vector
        self.target_vector = torch.zeros_like(zeros) if target_vector is None else target_vector
        self.critics = self._twins(self.critic_vector)
        self.targets = self._twins(self.target_vector)

    def _twins(self, vector: Tensor) -> tuple[FlatMlp, FlatMlp]:
        widths = self.widths
        first, second = (
            FlatMlp(half, widths.critic, self.activation, ones_at=widths.seen)
            for half in vector.view(2, -1)
        )
        return first, second


class Networks(CriticNetworks):
    """Those, and the actor."""

    def __init__(self, widths: Widths, activation: Activation) -> None:
        super().__init__(widths, activation)
        self.actor_vector = torch.zeros(size(widths.actor))
        self.actor = FlatMlp(self.actor_vector, widths.actor, activation)

    @property
    def vectors(self) -> tuple[Tensor, ...]:
        """All parameters."""
        return self.actor_vector, self.critic_vector, self.target_vector

"""All that MADDPG knows of one agent, as one vector: so it is broadcast, coded and saved."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.platform.runtime.interfaces import Arrays

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class MLP:
    """The layers of a network whose parameters are one vector: weights [O, I] and biases [O] in
    turn.
    """

    widths: tuple[int, ...]

    @property
    def sizes(self) -> list[int]:
        """Of each variable."""
        return [size for n, m in pairwise(self.widths) for size in (n * m, m)]

    @property
    def size(self) -> int:
        """Of the vector."""
        return sum(self.sizes)

    def initial(self, generator: Generator) -> Floats:
        """Glorot's uniform weights, zero biases."""
        parts: list[NDArray[np.float64]] = []
        for n, m in pairwise(self.widths):
            limit = np.sqrt(6 / (n + m))
            parts += [generator.uniform(-limit, limit, n * m), np.zeros(m)]
        return np.concatenate(parts).astype(np.float32)

    def split(self, vector: Floats) -> list[Floats]:
        """Views of the variables."""
        shapes: list[tuple[int, ...]] = []
        for n, m in pairwise(self.widths):
            shapes += [(m, n), (m,)]
        parts = np.split(vector, self._ends)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.sizes[:-1]))

    def arrays(self, name: str, vector: Floats) -> Arrays:
        """Copies of the variables under the names that `Perceptron` knows."""
        variables = self.split(vector)
        return {
            f"{name}.{k // 2}.{'bias' if k % 2 else 'weight'}": variable.copy()
            for k, variable in enumerate(variables)
        }


@dataclass(frozen=True)
class Row:
    """What lies where in an agent's vector [P]: actor, critic, their targets, Adam's two averages
    of the actor's gradients and of the critic's, and how many steps it took.
    """

    actor: MLP
    critic: MLP

    @property
    def sizes(self) -> list[int]:
        """Of these nine parts."""
        a, c = self.actor.size, self.critic.size
        return [a, c, a, c, a, a, c, c, 1]

    @property
    def size(self) -> int:
        """P."""
        return sum(self.sizes)

    def initial(self, generator: Generator) -> Floats:
        """A new agent's."""
        networks = [self.actor.initial(generator), self.critic.initial(generator)]
        return np.concatenate([*networks, *networks, np.zeros(sum(self.sizes[4:]), np.float32)])

    def split(self, row: Floats) -> list[Floats]:
        """Views of the parts."""
        return np.split(row, self._ends)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.sizes[:-1]))

    def squares(self) -> list[slice]:
        """Where the averages lie that are never negative."""
        ends = self._ends
        return [slice(ends[k - 1], ends[k]) for k in (5, 7)]


def row_of(agents: int, seen: int, acting: int, hidden: tuple[int, ...]) -> Row:
    """For observations of `seen` numbers and actions of `acting`; critics see everybody's."""
    return Row(
        MLP((seen, *hidden, acting)),
        MLP((agents * (seen + acting), *hidden, 1)),
    )


def acting_arrays(row: Row, rows: Floats) -> Arrays:
    """What all agents act with, of their rows [A, P]: names as `SeparatePolicies` has them."""
    found: Arrays = {}
    for agent in range(len(rows)):
        actor = rows[agent][: row.actor.size]
        for name, array in row.actor.arrays("actor", actor).items():
            found[f"{agent}.{name}"] = array
    return found

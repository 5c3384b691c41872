"""All that MADDPG knows of one agent, as one vector: so it is broadcast, coded and saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from covey.platform.runtime.interfaces import Arrays

Floats = NDArray[np.float32]
KINDS = ("weight", "bias")
NETWORKS = ("actor", "critic", "target_actor", "target_critic")


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
            f"{name}.{k // 2}.{KINDS[k % 2]}": variable.copy()
            for k, variable in enumerate(variables)
        }

    def vector(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> Floats:
        """The inverse of `arrays`."""
        names = [f"{name}.{k}.{kind}" for k in range(len(self.widths) - 1) for kind in KINDS]
        return np.concatenate([np.ravel(arrays[own]) for own in names])


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

    @property
    def learnt(self) -> int:
        """How much of it the networks take; what follows is the optimiser's."""
        return self._ends[len(NETWORKS) - 1]

    def squares(self) -> list[slice]:
        """Where the averages lie that are never negative."""
        ends = self._ends
        return [slice(ends[k - 1], ends[k]) for k in (5, 7)]

    def arrays(self, agent: int, row: Floats) -> Arrays:
        """Copies of an agent's networks, `0.actor.0.weight` and so on."""
        found: Arrays = {}
        for name, vector in zip(NETWORKS, self.split(row), strict=False):
            found |= self._network(name).arrays(f"{agent}.{name}", vector)
        return found

    def load(self, agent: int, arrays: Mapping[str, NDArray[Any]], row: Floats) -> None:
        """The inverse of `arrays`."""
        for name, vector in zip(NETWORKS, self.split(row), strict=False):
            vector[...] = self._network(name).vector(f"{agent}.{name}", arrays)

    def _network(self, name: str) -> MLP:
        return self.actor if name.endswith("actor") else self.critic


def row_of(agents: int, seen: int, acting: int, hidden: tuple[int, ...]) -> Row:
    """For observations of `seen` numbers and actions of `acting`; critics see everybody's."""
    return Row(
        MLP((seen, *hidden, acting)),
        MLP((agents * (seen + acting), *hidden, 1)),
    )


def acting_arrays(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """What all agents act with: names as `SeparatePolicies` has them."""
    return {name: array for name, array in arrays.items() if ".actor." in name}

"""Agents and landmarks as discs with mass 1, in many worlds at once.

The physics are those of OpenAI's particle environments as `mpe2` has them (`_mpe_utils/core.py`):
positions move by the velocities of before, velocities are damped, pushed, and held to a top speed;
discs that touch push each other softly apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP_S = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
THRUST = 5.0


@dataclass(frozen=True)
class Disc:
    """An agent or a landmark. `thrust`: force of a full action; landmarks do not move."""

    size: float
    collides: bool
    thrust: float = THRUST
    top_speed: float = np.inf


class Bodies:
    """W worlds of A agents and L landmarks: `positions` [W, A + L, 2], agents first, and
    `velocities` [W, A, 2].
    """

    def __init__(self, worlds: int, agents: Sequence[Disc], landmarks: Sequence[Disc]) -> None:
        self.agents = len(agents)
        discs = (*agents, *landmarks)
        self.sizes = np.array([disc.size for disc in discs])
        self.positions: Floats = np.zeros((worlds, len(discs), 2))
        self.velocities: Floats = np.zeros((worlds, len(agents), 2))
        self._thrust = np.array([disc.thrust for disc in agents])[:, None]
        self._top_speed = np.array([disc.top_speed for disc in agents])
        pairs = [
            (a, b)
            for a in range(len(agents))
            for b in range(a + 1, len(discs))
            if discs[a].collides and discs[b].collides
        ]
        self._first = np.array([a for a, _ in pairs], dtype=np.intp)
        self._second = np.array([b for _, b in pairs], dtype=np.intp)
        self._reach = self.sizes[self._first] + self.sizes[self._second]
        self._pushes = np.zeros((len(agents), len(pairs)))
        for pair, (a, b) in enumerate(pairs):
            self._pushes[a, pair] = 1
            if b < len(agents):
                self._pushes[b, pair] = -1

    @property
    def of_agents(self) -> Floats:
        """Positions [W, A, 2]."""
        return self.positions[:, : self.agents]

    @property
    def of_landmarks(self) -> Floats:
        """Positions [W, L, 2]."""
        return self.positions[:, self.agents :]

    def place(self, generator: np.random.Generator, landmarks_within: float = 1.0) -> None:
        """Everybody at rest somewhere in [-1, 1]²."""
        self.positions[...] = generator.uniform(-1, 1, self.positions.shape)
        self.positions[:, self.agents :] *= landmarks_within
        self.velocities.fill(0)

    def step(self, actions: Floats) -> None:
        """One step of all worlds; `actions` [W, A, 2] in [-1, 1]."""
        forces = actions * self._thrust
        if len(self._first):
            forces += self._pushes @ self._contacts()
        self.of_agents[...] += self.velocities * STEP_S
        self.velocities *= 1 - DAMPING
        self.velocities += forces * STEP_S
        if np.isfinite(self._top_speed).any():
            speed = np.maximum(length(self.velocities), 1e-12)
            self.velocities *= np.minimum(1, self._top_speed / speed)[..., None]

    def _contacts(self) -> Floats:
        """Forces on the first of each pair [W, P, 2]."""
        apart = self.positions[:, self._first] - self.positions[:, self._second]
        distance = length(apart)
        overlap = np.logaddexp(0, (self._reach - distance) / CONTACT_MARGIN) * CONTACT_MARGIN
        apart *= (CONTACT_FORCE * overlap / np.maximum(distance, 1e-12))[..., None]
        return apart

    def touching(self) -> NDArray[np.bool_]:
        """Which agents overlap [W, A, A], themselves not counted."""
        sizes = self.sizes[: self.agents]
        found: NDArray[np.bool_] = (
            distances(self.of_agents, self.of_agents) < sizes[:, None] + sizes
        )
        found[:, np.arange(self.agents), np.arange(self.agents)] = False
        return found


def length(vectors: Floats) -> Floats:
    """Of each of the vectors [..., 2]."""
    found: Floats = np.sqrt(np.square(vectors[..., 0]) + np.square(vectors[..., 1]))
    return found


def distances(these: Floats, those: Floats) -> Floats:
    """From each of `these` [W, N, 2] to each of `those` [W, M, 2]: [W, N, M]."""
    return length(these[:, :, None] - those[:, None])

"""What is played in a particle world: who is there, what they see, what it is worth."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from covey.envs.particles.bodies import Bodies, Disc, Floats
from covey.platform.errors import UserError


class Scenario(ABC):
    """One scenario in W worlds. An agent's observation is made of parts that lie one after another;
    where agents see different parts, the shorter rows end in zeros.
    """

    NAME: ClassVar[str]
    LEAST_AGENTS: ClassVar[int]
    HAS_GOAL: ClassVar[bool] = False

    def __init__(
        self, worlds: int, agents: Sequence[Disc], landmarks: Sequence[Disc], adversaries: int
    ) -> None:
        self.bodies = Bodies(worlds, agents, landmarks)
        self.adversaries = adversaries
        self.goal = np.zeros(worlds, dtype=np.int64)
        """The landmark that matters, where one does."""
        count = len(agents)
        self._others = np.array(
            [[b for b in range(count) if b != a] for a in range(count)], dtype=np.intp
        ).reshape(count, count - 1)

    @property
    def names(self) -> tuple[str, ...]:
        """The agents', adversaries first."""
        good = range(self.bodies.agents - self.adversaries)
        bad = range(self.adversaries)
        return (*(f"adversary_{k}" for k in bad), *(f"agent_{k}" for k in good))

    def begin(self, generator: np.random.Generator) -> None:
        """New episodes in all worlds."""
        self.bodies.place(generator)

    @abstractmethod
    def rewards(self) -> Floats:
        """What the step just taken is worth to each agent [W, A]."""

    @abstractmethod
    def parts(self, agent: int) -> list[Floats]:
        """What an agent sees: arrays [W, …]."""

    def observe(self, observations: NDArray[np.float32]) -> None:
        """Write what everybody sees [W, A, width]."""
        for agent in range(self.bodies.agents):
            end = 0
            for part in self.parts(agent):
                flat = part.reshape(len(part), -1)
                begin, end = end, end + flat.shape[1]
                observations[:, agent, begin:end] = flat
            observations[:, agent, end:] = 0

    @cached_property
    def width(self) -> int:
        """Of the longest observation."""
        agents = range(self.bodies.agents)
        return max(sum(int(part[0].size) for part in self.parts(agent)) for agent in agents)

    def landmarks_from(self, agent: int) -> Floats:
        """Where the landmarks are, seen from an agent [W, L, 2]."""
        return self.bodies.of_landmarks - self.bodies.positions[:, agent, None]

    def others_from(self, agent: int) -> Floats:
        """Where the other agents are, seen from an agent [W, A - 1, 2]."""
        positions = self.bodies.positions
        return positions[:, self._others[agent]] - positions[:, agent, None]

    def goal_positions(self) -> Floats:
        """[W, 2]."""
        return self.bodies.of_landmarks[np.arange(len(self.goal)), self.goal]

    @classmethod
    def check_agents(cls, agents: int) -> None:
        """Raises UserError if the scenario cannot be played by so many."""
        if agents < cls.LEAST_AGENTS:
            raise UserError(
                f"env.agents: {cls.NAME} needs at least {cls.LEAST_AGENTS}, {agents} given"
            )

    @classmethod
    def check_adversaries(cls, agents: int, adversaries: int) -> None:
        """Raises UserError unless there are some of both."""
        if not 0 < adversaries < agents:
            raise UserError(
                f"env.kwargs.adversaries: {cls.NAME} with {agents} agents needs 1 to {agents - 1},"
                f" {adversaries} given"
            )

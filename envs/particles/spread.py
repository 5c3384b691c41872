"""simple_spread, cooperative navigation: agents cover landmarks and do not touch each other."""

import numpy as np

from covey.envs.particles.bodies import Disc, Floats, distances
from covey.envs.particles.scenario import Scenario


class Spread(Scenario):
    """As many landmarks as agents. `local_ratio`: the part of a reward that is an agent's own."""

    NAME = "simple_spread"
    LEAST_AGENTS = 1

    def __init__(self, worlds: int, agents: int = 3, local_ratio: float = 0.5) -> None:
        self.check_agents(agents)
        self._local_ratio = local_ratio
        discs = [Disc(0.15, collides=True)] * agents
        super().__init__(worlds, discs, [Disc(0.05, collides=False)] * agents, adversaries=0)
        self._silence = np.zeros((worlds, agents - 1, 2))

    def rewards(self) -> Floats:
        bodies = self.bodies
        uncovered = distances(bodies.of_landmarks, bodies.of_agents).min(axis=2).sum(axis=1)
        bumps = bodies.touching().sum(axis=2)
        rewards: Floats = -bumps * self._local_ratio - uncovered[:, None] * (1 - self._local_ratio)
        return rewards

    def parts(self, agent: int) -> list[Floats]:
        bodies = self.bodies
        return [
            bodies.velocities[:, agent],
            bodies.positions[:, agent],
            self.landmarks_from(agent),
            self.others_from(agent),
            self._silence,  # nobody says anything
        ]

"""simple_tag, predator and prey: adversaries hunt faster agents between obstacles."""

import numpy as np

from covey.envs.particles.bodies import Disc, Floats
from covey.envs.particles.scenario import Scenario

CAUGHT = 10.0
ADVERSARY = Disc(0.075, collides=True, thrust=3.0, top_speed=1.0)
PREY = Disc(0.05, collides=True, thrust=4.0, top_speed=1.3)
OBSTACLE = Disc(0.2, collides=True)


class Tag(Scenario):
    """`adversaries` of the agents hunt, by default three of four."""

    NAME = "simple_tag"
    LEAST_AGENTS = 2

    def __init__(
        self, worlds: int, agents: int = 4, adversaries: int | None = None, obstacles: int = 2
    ) -> None:
        self.check_agents(agents)
        hunters = agents - max(1, agents // 4) if adversaries is None else adversaries
        self.check_adversaries(agents, hunters)
        discs = [ADVERSARY] * hunters + [PREY] * (agents - hunters)
        super().__init__(worlds, discs, [OBSTACLE] * obstacles, hunters)

    def begin(self, generator: np.random.Generator) -> None:
        self.bodies.place(generator, landmarks_within=0.9)

    def rewards(self) -> Floats:
        caught = self.bodies.touching()[:, self.adversaries :, : self.adversaries]
        prey = -CAUGHT * caught.sum(axis=2) - outside(self.bodies.of_agents[:, self.adversaries :])
        hunters = CAUGHT * caught.sum(axis=(1, 2))
        return np.concatenate(
            [np.broadcast_to(hunters[:, None], (len(hunters), self.adversaries)), prey], axis=1
        )

    def parts(self, agent: int) -> list[Floats]:
        bodies = self.bodies
        prey = self._others[agent][self._others[agent] >= self.adversaries]
        return [
            bodies.velocities[:, agent],
            bodies.positions[:, agent],
            self.landmarks_from(agent),
            self.others_from(agent),
            bodies.velocities[:, prey],
        ]


def outside(positions: Floats) -> Floats:
    """What the prey pays for leaving the field: positions [W, N, 2], the price [W, N]."""
    x = np.abs(positions)
    price = np.where(x < 1, (x - 0.9) * 10, np.minimum(np.exp(2 * np.minimum(x, 4) - 2), 10))
    total: Floats = np.where(x < 0.9, 0, price).sum(axis=2)
    return total

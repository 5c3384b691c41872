"""simple_adversary, physical deception: agents cover landmarks so that an adversary cannot tell
which one is the goal.
"""

import numpy as np

from covey.envs.particles.bodies import Disc, Floats, distances
from covey.envs.particles.scenario import Scenario


class Adversary(Scenario):
    """One adversary, and a landmark for each of the others."""

    NAME = "simple_adversary"
    LEAST_AGENTS = 2
    HAS_GOAL = True

    def __init__(self, worlds: int, agents: int = 3) -> None:
        self.check_agents(agents)
        discs = [Disc(0.15, collides=False)] * agents
        super().__init__(worlds, discs, [Disc(0.08, collides=False)] * (agents - 1), 1)

    def begin(self, generator: np.random.Generator) -> None:
        super().begin(generator)
        self.goal[...] = generator.integers(self.bodies.agents - 1, size=len(self.goal))

    def rewards(self) -> Floats:
        from_goal = distances(self.bodies.of_agents, self.goal_positions()[:, None])[:, :, 0]
        adversary, good = from_goal[:, 0], from_goal[:, 1:]
        rewards = np.empty_like(from_goal)
        rewards[:, 0] = -adversary
        rewards[:, 1:] = (adversary - good.min(axis=1))[:, None]
        return rewards

    def parts(self, agent: int) -> list[Floats]:
        seen = [self.landmarks_from(agent), self.others_from(agent)]
        if agent < self.adversaries:
            return seen
        return [self.goal_positions() - self.bodies.positions[:, agent], *seen]

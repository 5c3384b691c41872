"""simple_push, keep-away: adversaries push agents away from the landmark that these know to be the
goal.
"""

import numpy as np

from covey.envs.particles.bodies import Disc, Floats, distances
from covey.envs.particles.scenario import Scenario

LANDMARKS = 2
COLOURS = np.array([[0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
"""Of the landmarks; an agent wears the goal's, more faintly."""


class Push(Scenario):
    """`adversaries` of the agents push, by default half of them."""

    NAME = "simple_push"
    LEAST_AGENTS = 2
    HAS_GOAL = True

    def __init__(self, worlds: int, agents: int = 2, adversaries: int | None = None) -> None:
        self.check_agents(agents)
        pushing = agents // 2 if adversaries is None else adversaries
        self.check_adversaries(agents, pushing)
        discs = [Disc(0.05, collides=True)] * agents
        super().__init__(worlds, discs, [Disc(0.05, collides=False)] * LANDMARKS, pushing)
        self._landmark_colours = np.broadcast_to(COLOURS, (worlds, *COLOURS.shape))

    def begin(self, generator: np.random.Generator) -> None:
        super().begin(generator)
        self.goal[...] = generator.integers(LANDMARKS, size=len(self.goal))

    def rewards(self) -> Floats:
        from_goal = distances(self.bodies.of_agents, self.goal_positions()[:, None])[:, :, 0]
        rewards = -from_goal
        rewards[:, : self.adversaries] += from_goal[:, self.adversaries :].min(axis=1)[:, None]
        return rewards

    def parts(self, agent: int) -> list[Floats]:
        bodies = self.bodies
        velocity, landmarks = bodies.velocities[:, agent], self.landmarks_from(agent)
        others = self.others_from(agent)
        if agent < self.adversaries:
            return [velocity, landmarks, others]
        to_goal = self.goal_positions() - bodies.positions[:, agent]
        own_colour = np.full((len(self.goal), 3), 0.25)
        own_colour[np.arange(len(self.goal)), self.goal + 1] += 0.5
        return [velocity, to_goal, own_colour, landmarks, self._landmark_colours, others]

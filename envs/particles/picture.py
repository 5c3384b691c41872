"""Particle worlds, drawn: agents blue, adversaries red, landmarks grey, the goal green."""

import numpy as np
from numpy.typing import NDArray

from covey.envs.particles.scenario import Scenario

PIXELS = 400
FIELD = 1.4
"""Shown of the plane: [-FIELD, FIELD]²."""
COLOURS = {
    "agent": (90, 90, 217),
    "adversary": (217, 90, 90),
    "landmark": (120, 120, 120),
    "goal": (60, 180, 75),
}


def draw(scenario: Scenario) -> NDArray[np.uint8]:
    """The first world: [H, W, 3]."""
    bodies = scenario.bodies
    picture = np.full((PIXELS, PIXELS, 3), 255, dtype=np.uint8)
    across = np.linspace(-FIELD, FIELD, PIXELS)
    kinds = ["agent"] * bodies.agents + ["landmark"] * (len(bodies.sizes) - bodies.agents)
    kinds[: scenario.adversaries] = ["adversary"] * scenario.adversaries
    if scenario.HAS_GOAL:
        kinds[bodies.agents + int(scenario.goal[0])] = "goal"
    for i in reversed(range(len(kinds))):  # agents over landmarks
        x, y = bodies.positions[0, i]
        away = np.hypot(across[None, :] - x, across[::-1, None] - y)
        picture[away < bodies.sizes[i]] = COLOURS[kinds[i]]
    return picture

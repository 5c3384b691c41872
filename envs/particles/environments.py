"""Steps particle worlds: every agent of every world is a column, and no Python is run for each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.envs.batched import no_transitions
from covey.envs.particles.bodies import Floats
from covey.envs.particles.registry import make_scenario
from covey.envs.source import EnvSource
from covey.platform.errors import UserError
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces
from covey.platform.seeds import derive

DIRECTIONS = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], dtype=np.float64)
"""Of the five actions, as numbers; a continuous one says how much of each."""
MAX_CYCLES = 25


class ParticleEnv:
    """`worlds` worlds, numbered from `first`, of A agents each: column w * A + a is agent a of w.

    All worlds begin and end together, after `max_cycles` steps, which cut an episode short. Random
    numbers come from (root seed, role, first); where they stand can be kept and gone on from,
    exactly.
    """

    def __init__(
        self, source: EnvSource, worlds: int, first: int, root_seed: int, role: str = "environment"
    ) -> None:
        kwargs = dict(source.kwargs)
        self._cycles = int(kwargs.pop("max_cycles", MAX_CYCLES))
        if self._cycles < 1:
            raise UserError(f"{source}: max_cycles is at least 1, {self._cycles} given")
        continuous = bool(kwargs.pop("continuous_actions", False))
        self.scenario = make_scenario(source, worlds, kwargs)
        self._source = source
        self._worlds = worlds
        self._agents = self.scenario.bodies.agents
        self.count = worlds * self._agents
        self.failures = 0
        self.spaces = Spaces(
            ObservationSpec("numeric", (self.scenario.width,), "float32"),
            ActionSpec("continuous", (5,), "float32", low=(0.0,) * 5, high=(1.0,) * 5)
            if continuous
            else ActionSpec("discrete", (), "int64", choices=5),
            agents=self._agents,
        )
        self._generator = np.random.Generator(np.random.PCG64(derive(root_seed, role, first)))
        self._cycle = 0

    def __str__(self) -> str:
        return str(self._source)

    def reset(self, observations: NDArray[Any]) -> None:
        self._cycle = 0
        self.scenario.begin(self._generator)
        self.scenario.observe(self._by_world(observations))

    def step(
        self,
        actions: NDArray[Any],
        observations: NDArray[Any],
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        valid: NDArray[np.bool_],
    ) -> None:
        no_transitions(rewards, terminated, truncated, valid)
        if self._cycle == self._cycles:
            self.reset(observations)
            return
        self.scenario.bodies.step(self._directions(actions))
        self._cycle += 1
        self._by_world(rewards)[...] = self.scenario.rewards()
        self.scenario.observe(self._by_world(observations))
        truncated[...] = self._cycle == self._cycles
        valid.fill(True)

    def _directions(self, actions: NDArray[Any]) -> Floats:
        """Of a policy's actions [B] or [B, 5]: [W, A, 2]."""
        taken = self.spaces.action.to_environment(actions)
        pushed: Floats = DIRECTIONS[taken] if taken.ndim == 1 else taken @ DIRECTIONS
        return self._by_world(pushed)

    def _by_world(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Columns [B, ...] as [W, A, ...]."""
        return columns.reshape(self._worlds, self._agents, *columns.shape[1:])

    def state(self) -> tuple[Record, Arrays]:
        scenario = self.scenario
        record: Record = {"cycle": self._cycle, "generator": self._generator.bit_generator.state}
        return record, {
            "positions": scenario.bodies.positions.copy(),
            "velocities": scenario.bodies.velocities.copy(),
            "goal": scenario.goal.copy(),
        }

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        self._cycle = record["cycle"]
        self._generator.bit_generator.state = record["generator"]
        scenario = self.scenario
        scenario.bodies.positions[...] = arrays["positions"]
        scenario.bodies.velocities[...] = arrays["velocities"]
        scenario.goal[...] = arrays["goal"]
        scenario.observe(self._by_world(observations))
        return True

    def close(self) -> None:
        pass

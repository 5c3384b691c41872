"""Steps PettingZoo parallel environments: every agent of every environment is a column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from covey.envs.actions import conversion
from covey.envs.history import ActionHistory
from covey.envs.replacements import Replacements
from covey.envs.source import EnvSource, described
from covey.envs.vector import abandon
from covey.envs.world import Outcome, World, describe_parallel, make_parallel
from covey.platform.errors import UserError
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.seeds import derive_int


class ParallelEnv:
    """E `environments`, numbered from `first`, of A agents each: column e * A + a is agent a of e.

    Agents share a column's arrays, so all must have the same spaces. One that leaves has ended its
    episode; its column is not valid from there to the first step of its environment's next episode,
    which begins when nobody is left. Seeds, replay and replacement are those of VectorEnv.
    """

    def __init__(
        self,
        source: EnvSource,
        environments: int,
        first: int,
        root_seed: int,
        role: str = "environment",
        replayable: bool = False,
    ) -> None:
        self._source = source
        self._first = first
        self._root_seed = root_seed
        self._role = role
        env = make_parallel(source)
        self.agents, self.spaces = describe_parallel(env, str(source))
        self.count = environments * len(self.agents)
        self._worlds = [self._world(env), *(self._world() for _ in range(environments - 1))]
        self._episode = [-1] * environments
        self._resetting = [False] * environments
        self._history = ActionHistory(environments) if replayable else None
        self._converted = conversion(self.spaces.action)
        self._replacements = Replacements(environments)
        self.failures = 0
        self._current = Outcome.allocate(self.count, self.spaces).observations

    def _world(self, env: Any = None) -> World:
        made = make_parallel(self._source) if env is None else env
        return World(self._source, self.agents, made)

    def __str__(self) -> str:
        return str(self._source)

    def columns(self, e: int) -> slice:
        """Those of the agents of environment e."""
        return slice(e * len(self.agents), (e + 1) * len(self.agents))

    def reset(self, observations: NDArray[Any]) -> None:
        for e in range(len(self._worlds)):
            while not self._begin(e, observations):
                pass
        self._current = observations

    def step(
        self,
        actions: NDArray[Any],
        observations: NDArray[Any],
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        valid: NDArray[np.bool_],
    ) -> None:
        self._replacements.next_row()
        if self._history is not None:
            self._history.keep(self._by_environment(actions))
        row = Outcome(observations, rewards, terminated, truncated, valid)
        prepared = self._by_environment(self._converted(actions))
        for e, world in enumerate(self._worlds):
            columns = self.columns(e)
            part, previous = row.part(columns), self._current[columns]
            if self._resetting[e]:
                part.nothing(previous)
                self._begin(e, observations)
                continue
            try:
                world.step(prepared[e], previous, part)
                self._resetting[e] = world.over
            except UserError:
                raise
            except Exception as error:
                part.nothing(previous)
                self._replace(e, "step", error)
        self._current = observations

    def _by_environment(self, columns: Any) -> Any:
        """Columns [B, ...] as [E, A, ...]."""
        agents = len(self.agents)
        if isinstance(columns, list):
            return [columns[k : k + agents] for k in range(0, len(columns), agents)]
        return columns.reshape(-1, agents, *columns.shape[1:])

    def _begin(self, e: int, observations: NDArray[Any]) -> bool:
        """Begin the next episode of environment e; False, and another environment in its place, if
        it raised.
        """
        self._episode[e] += 1
        try:
            self._reset_to(e, observations[self.columns(e)])
        except UserError:
            raise
        except Exception as error:
            self._replace(e, "reset", error)
            return False
        self._resetting[e] = False
        if self._history is not None:
            self._history.begin(e)
        return True

    def _reset_to(self, e: int, observations: NDArray[Any]) -> None:
        seed = derive_int(self._root_seed, self._role, self._first + e, self._episode[e])
        self._worlds[e].reset(seed, observations)

    def _replace(self, e: int, act: str, error: Exception) -> None:
        self._replacements.note(e, self._name(e), act, error)
        self.failures += 1
        abandon(self._worlds[e].env)
        self._worlds[e] = self._world()
        self._resetting[e] = True

    def _name(self, e: int) -> str:
        return f"{self._source} (number {self._first + e}, episode {self._episode[e]})"

    def state(self) -> tuple[Record, Arrays]:
        record: Record = {
            "episode": list(self._episode),
            "resetting": list(self._resetting),
            "replayable": self._history is not None,
        }
        if self._history is None:
            return record, {}
        arrays = self._history.arrays(self.spaces.action.empty(0, len(self.agents)))
        return record, {"current": self._current.copy(), **arrays}

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        """Raises UserError when an environment, given the same actions, does not come out where it
        stood.
        """
        self._episode = list(record["episode"])
        if self._history is None or not record["replayable"]:
            self.reset(observations)
            return False
        self._resetting = list(record["resetting"])
        self._history.load(arrays)
        observations[...] = arrays["current"]
        for e, resetting in enumerate(self._resetting):
            if not resetting:
                self._replay(e, arrays[f"actions.{e}"], observations[self.columns(e)])
        self._current = observations
        return True

    def _replay(self, e: int, actions: NDArray[Any], expected: NDArray[Any]) -> None:
        row = Outcome.allocate(len(self.agents), self.spaces)
        try:
            self._reset_to(e, row.observations)
            for taken in actions:
                self._worlds[e].step(self._converted(taken), row.observations, row)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._name(e)}: replay failed: {described(error)}") from error
        if not np.array_equal(row.observations, expected, equal_nan=expected.dtype.kind == "f"):
            raise UserError(
                f"{self._name(e)} cannot be resumed exactly: after the same seed and the same "
                f"{len(actions)} actions it shows another observation, so it draws on something "
                "that reset(seed=...) does not set"
            )

    def close(self) -> None:
        for world in self._worlds:
            world.env.close()

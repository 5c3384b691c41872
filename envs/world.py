"""One PettingZoo environment as columns, a column for each of its agents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from covey.envs.observations import as_declared
from covey.envs.source import EnvSource, described, import_named
from covey.envs.spaces import describe_action, describe_observation
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ObservationSpec, Spaces


def make_parallel(source: EnvSource) -> Any:
    """A new PettingZoo parallel environment. Raises UserError that names it and the reason."""
    named, _, function = source.id.rpartition(":")
    module = import_named(source, named or source.id)
    function = function if named else "parallel_env"
    maker = getattr(module, function, None)
    if not callable(maker):
        raise UserError(
            f"{source}: {module.__name__} has no function {function} (a parallel environment is "
            "named package.module if that has a parallel_env, or package.module:function)"
        )
    try:
        env = maker(**source.kwargs)
    except Exception as error:
        raise UserError(f"{source}: making it failed: {described(error)}") from error
    if not getattr(env, "possible_agents", None):
        raise UserError(f"{source}: {function} made no parallel environment with possible_agents")
    return env


def describe_parallel(env: Any, name: str) -> tuple[tuple[str, ...], Spaces]:
    """The agents of an environment, and the spaces that all of them share, for so many.

    Rows of numbers may be of different lengths: the shorter ones end in zeros. Raises UserError for
    spaces that differ in another way.
    """
    agents = tuple(env.possible_agents)
    seen = [describe_observation(env.observation_space(agent), name) for agent in agents]
    widest = max(seen, key=lambda spec: spec.shape)
    shared = Spaces(widest, describe_action(env.action_space(agents[0]), name), len(agents))
    for agent, own in zip(agents, seen, strict=True):
        action = describe_action(env.action_space(agent), name)
        if action != shared.action or not (own == widest or is_shorter_row(own, widest)):
            raise UserError(
                f"{name}: its agents must have the same spaces, but {agents[0]} sees "
                f"{env.observation_space(agents[0])} and takes {env.action_space(agents[0])}, "
                f"{agent} sees {env.observation_space(agent)} and takes {env.action_space(agent)}"
            )
    return agents, shared


def is_shorter_row(one: ObservationSpec, other: ObservationSpec) -> bool:
    """Whether both are rows of numbers, and the first the shorter one."""
    rows = one.kind == other.kind == "numeric" and len(one.shape) == len(other.shape) == 1
    return rows and one.dtype == other.dtype and one.shape < other.shape


@dataclass(frozen=True)
class Outcome:
    """Where a step is written: views [B, ...] of a row."""

    observations: NDArray[Any]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    valid: NDArray[np.bool_]

    @classmethod
    def allocate(cls, columns: int, spaces: Spaces) -> Self:
        seen = spaces.observation
        return cls(
            np.zeros((columns, *seen.shape), dtype=seen.dtype),
            np.zeros(columns, dtype=np.float32),
            *np.zeros((3, columns), dtype=np.bool_),
        )

    def part(self, columns: slice) -> Self:
        """Views of some columns."""
        return type(self)(
            self.observations[columns],
            self.rewards[columns],
            self.terminated[columns],
            self.truncated[columns],
            self.valid[columns],
        )

    def nothing(self, observations: NDArray[Any]) -> None:
        """No transition anywhere; `observations` [B, ...] are shown."""
        self.observations[...] = observations
        self.rewards.fill(0)
        self.terminated.fill(False)
        self.truncated.fill(False)
        self.valid.fill(False)


class World:
    """An environment and who of its agents is there.

    An agent ends once in an episode; what its environment says of it after that is not looked at.
    """

    def __init__(self, source: EnvSource, agents: Sequence[str], env: Any) -> None:
        self.env = env
        self._name = str(source)
        self._agents = agents
        self._seen = [describe_observation(env.observation_space(a), self._name) for a in agents]
        self._active = [False] * len(agents)
        self._gone = [False] * len(agents)

    @property
    def over(self) -> bool:
        """Whether nobody is there: the episode has ended."""
        return not any(self._active)

    def reset(self, seed: int, observations: NDArray[Any]) -> None:
        """Begin an episode; those who are not there yet are shown as zeros."""
        seen, _ = self.env.reset(seed=seed)
        self._gone = [False] * len(self._agents)
        for i, agent in enumerate(self._agents):
            self._active[i] = agent in seen
            observations[i] = 0
            if agent in seen:
                self._show(i, seen[agent], observations)
        if self.over:
            raise UserError(f"{self._name}: its episode began without agents")

    def step(self, actions: Any, previous: NDArray[Any], outcome: Outcome) -> None:
        """One step with an environment's actions [A, ...]; an agent that is not there goes on
        showing what it showed, `previous` [A, ...].
        """
        present = set(self.env.agents)
        seen, gained, ended, cut, _ = self.env.step(
            {agent: actions[i] for i, agent in enumerate(self._agents) if agent in present}
        )
        present = set(self.env.agents)
        outcome.nothing(previous)
        for i, agent in enumerate(self._agents):
            if agent in seen and not self._gone[i]:
                self._show(i, seen[agent], outcome.observations)
            if self._active[i]:
                outcome.valid[i] = True
                outcome.rewards[i] = gained[agent]
                outcome.terminated[i] = ended[agent]
                outcome.truncated[i] = cut[agent]
                if ended[agent] or cut[agent]:
                    self._active[i], self._gone[i] = False, True
            else:
                self._active[i] = agent in present and not self._gone[i]

    def _show(self, i: int, seen: Any, observations: NDArray[Any]) -> None:
        """Write what agent i sees; what is beyond a shorter row stays 0."""
        checked = as_declared(seen, self._seen[i], self._name)
        if checked.shape == observations[i].shape:
            observations[i] = checked
        else:
            observations[i, : len(checked)] = checked

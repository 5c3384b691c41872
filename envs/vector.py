"""Steps many Gymnasium environments in one process, writing in place into the caller's arrays."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from covey.envs.make import EnvSource, described, make_env
from covey.envs.spaces import describe_spaces
from covey.platform.errors import UserError
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.seeds import derive_int


class VectorEnv:
    """`count` environments, numbered from `first`; episode e of environment i starts from a seed of
    its own.

    That seed is derived from (root seed, role, i, e) and nothing else, so episodes do not depend on
    how environments are spread over samplers. With `replayable`, the actions since each reset are
    kept, and `restore` plays them again; that is how an environment whose state cannot be saved
    goes on exactly.
    """

    def __init__(
        self,
        source: EnvSource,
        count: int,
        first: int,
        root_seed: int,
        role: str = "environment",
        replayable: bool = False,
    ) -> None:
        self._source = source
        self._first = first
        self._root_seed = root_seed
        self._role = role
        self._envs: list[gymnasium.Env[Any, Any]] = [make_env(source) for _ in range(count)]
        self.count = count
        self.spaces = describe_spaces(self._envs[0], str(source))
        self._shape = self.spaces.observation.shape
        self._dtype = np.dtype(self.spaces.observation.dtype)
        self._episode = [-1] * count
        self._since_reset: list[list[NDArray[Any]]] | None = (
            [[] for _ in range(count)] if replayable else None
        )
        self._current = np.zeros((count, *self._shape), dtype=self._dtype)
        self.finals: list[tuple[int, NDArray[Any]]] = []

    def __str__(self) -> str:
        return str(self._source)

    def reset(self, observations: NDArray[Any]) -> None:
        for b in range(self.count):
            observations[b] = self._begin_episode(b)
        self._current = observations

    def step(
        self,
        actions: NDArray[Any],
        observations: NDArray[Any],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
    ) -> None:
        self.finals = []
        shape, dtype = self._shape, self._dtype
        if self._since_reset is not None:
            for b, kept in enumerate(self._since_reset):
                kept.append(actions[b].copy())
        b = 0
        try:
            for b, action in enumerate(self._environment_actions(actions)):
                seen, rewards[b], ended, cut, _ = self._envs[b].step(action)
                if type(seen) is not np.ndarray or seen.shape != shape or seen.dtype != dtype:
                    seen = self._checked(seen)
                terminated[b] = ended
                truncated[b] = cut
                if ended or cut:
                    self.finals.append((b, np.array(seen)))
                    seen = self._begin_episode(b)
                observations[b] = seen
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._name(b)}: step failed: {described(error)}") from error
        self._current = observations

    def _environment_actions(self, actions: NDArray[Any]) -> Any:
        prepared = self.spaces.action.to_environment(actions)
        # Plain integers: Gymnasium checks them several times faster than numpy's.
        return prepared.tolist() if self.spaces.action.kind == "discrete" else prepared

    def _begin_episode(self, b: int) -> NDArray[Any]:
        self._episode[b] += 1
        if self._since_reset is not None:
            self._since_reset[b] = []
        return self._reset_to(b)

    def _reset_to(self, b: int) -> NDArray[Any]:
        """The first observation of environment b's current episode."""
        seed = derive_int(self._root_seed, self._role, self._first + b, self._episode[b])
        try:
            seen, _ = self._envs[b].reset(seed=seed)
        except Exception as error:
            raise UserError(f"{self._name(b)}: reset failed: {described(error)}") from error
        return self._checked(seen)

    def _checked(self, seen: Any) -> NDArray[Any]:
        """The observation as an array of the declared shape and dtype; raises UserError if it is
        not one.
        """
        array = np.asarray(seen)
        if array.shape != self._shape:
            raise UserError(
                f"{self._source}: an observation has shape {array.shape}, "
                f"its observation_space declares {self._shape}"
            )
        if not np.can_cast(array.dtype, self._dtype, "same_kind"):
            raise UserError(
                f"{self._source}: an observation has dtype {array.dtype}, "
                f"its observation_space declares {self._dtype}"
            )
        return array.astype(self._dtype, copy=False)

    def _name(self, b: int) -> str:
        return f"{self._source} (number {self._first + b}, episode {self._episode[b]})"

    def state(self) -> tuple[Record, Arrays]:
        record: Record = {
            "episode": list(self._episode),
            "replayable": self._since_reset is not None,
        }
        if self._since_reset is None:
            return record, {}
        arrays: Arrays = {"current": self._current.copy()}
        for b, actions in enumerate(self._since_reset):
            arrays[f"actions.{b}"] = np.array(actions, dtype=self.spaces.action.empty(0).dtype)
        return record, arrays

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        """Raises UserError when an environment, given the same actions, does not come out where it
        stood.
        """
        self._episode = list(record["episode"])
        if self._since_reset is None or not record["replayable"]:
            self.reset(observations)
            return False
        for b in range(self.count):
            observations[b] = self._replay(b, arrays[f"actions.{b}"])
            if not np.array_equal(observations[b], arrays["current"][b]):
                raise UserError(
                    f"{self._name(b)} cannot be resumed exactly: after the same seed and the same "
                    f"{len(arrays[f'actions.{b}'])} actions it shows another observation, so it "
                    "draws on something that reset(seed=...) does not set"
                )
        self._current = observations
        return True

    def _replay(self, b: int, actions: NDArray[Any]) -> NDArray[Any]:
        seen = self._reset_to(b)
        width = self.spaces.action.width
        rows = actions if self.spaces.action.kind == "discrete" else actions.reshape(-1, width)
        for action in self._environment_actions(rows):
            seen = self._checked(self._envs[b].step(action)[0])
        if self._since_reset is not None:
            self._since_reset[b] = list(rows)
        return seen

    def close(self) -> None:
        for env in self._envs:
            env.close()  # type: ignore[no-untyped-call]

"""Steps many Gymnasium environments in one process, writing in place into the caller's arrays."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from covey.envs.actions import conversion
from covey.envs.history import ActionHistory
from covey.envs.observations import as_declared
from covey.envs.replacements import Replacements
from covey.envs.single import make_env
from covey.envs.source import EnvSource, described
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

    An environment that raises is replaced by a new one: neither that row nor its reset's is valid.
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
        self._history = ActionHistory(count) if replayable else None
        self._converted = conversion(self.spaces.action)
        self._replacements = Replacements(count)
        self.failures = 0
        # What a column's next action is handed to: its environment's `step`, or, after an episode's
        # end, a reset that answers like one. So the loop over columns asks nothing of each.
        self._advance: list[Callable[[Any], Any]] = [env.step for env in self._envs]
        self._resetting: list[int] = []
        self._current = np.zeros((count, *self._shape), dtype=self._dtype)

    def __str__(self) -> str:
        return str(self._source)

    def reset(self, observations: NDArray[Any]) -> None:
        for b in range(self.count):
            observations[b] = self._begin_episode(b)
        self._resetting = []
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
            self._history.keep(actions)
        terminated.fill(False)
        truncated.fill(False)
        valid.fill(True)
        if self._resetting:
            valid[self._resetting] = False
            self._resetting = []
        shape, dtype, ndarray = self._shape, self._dtype, np.ndarray
        prepared = self._converted(actions)
        for b, (advance, action) in enumerate(zip(self._advance, prepared, strict=True)):
            try:
                seen, reward, ended, cut, _ = advance(action)
            except UserError:
                raise
            except Exception as error:
                self._replace(b, "step", error)
                seen, reward, ended, cut = self._current[b], 0.0, False, False
                valid[b] = False
            if type(seen) is not ndarray or seen.dtype is not dtype or seen.shape != shape:
                seen = as_declared(seen, self.spaces.observation, self._source)
            observations[b] = seen
            rewards[b] = reward
            if ended or cut:
                terminated[b] = ended
                truncated[b] = cut
                self._await_reset(b)
        self._current = observations

    def _await_reset(self, b: int) -> None:
        """Let column b's next row be a reset."""
        self._resetting.append(b)
        self._advance[b] = lambda action: (self._begin_row(b), 0.0, False, False, {})

    def _begin_row(self, b: int) -> NDArray[Any]:
        """The first observation of the next episode; after a failed reset, the last one again."""
        self._episode[b] += 1
        try:
            seen = self._reset_to(b)
        except UserError:
            raise
        except Exception as error:
            self._replace(b, "reset", error)
            seen = self._current[b]
        else:
            self._begun(b)
        return seen

    def _begin_episode(self, b: int) -> NDArray[Any]:
        """The same outside of a row: a failed reset is tried again at once."""
        self._episode[b] += 1
        while True:
            try:
                seen = self._reset_to(b)
            except UserError:
                raise
            except Exception as error:
                self._replace(b, "reset", error)
            else:
                self._begun(b)
                return seen

    def _begun(self, b: int) -> None:
        self._advance[b] = self._envs[b].step
        if self._history is not None:
            self._history.begin(b)

    def _reset_to(self, b: int) -> NDArray[Any]:
        """The first observation of environment b's current episode."""
        seed = derive_int(self._root_seed, self._role, self._first + b, self._episode[b])
        seen, _ = self._envs[b].reset(seed=seed)
        return as_declared(seen, self.spaces.observation, self._source)

    def _replace(self, b: int, act: str, error: Exception) -> None:
        """Put a new environment in the place of b, which raised; it begins with a reset."""
        self._replacements.note(b, self._name(b), act, error)
        self.failures += 1
        abandon(self._envs[b])
        self._envs[b] = make_env(self._source)
        self._await_reset(b)

    def _name(self, b: int) -> str:
        return f"{self._source} (number {self._first + b}, episode {self._episode[b]})"

    def state(self) -> tuple[Record, Arrays]:
        record: Record = {
            "episode": list(self._episode),
            "resetting": list(self._resetting),
            "replayable": self._history is not None,
        }
        if self._history is None:
            return record, {}
        arrays = self._history.arrays(self.spaces.action.empty(0))
        return record, {"current": self._current.copy(), **arrays}

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        """Raises UserError when an environment, given the same actions, does not come out where it
        stood.
        """
        self._episode = list(record["episode"])
        if self._history is None or not record["replayable"]:
            self.reset(observations)
            return False
        self._history.load(arrays)
        self._resetting = []
        observations[:] = arrays["current"]
        for b in range(self.count):
            if b in record["resetting"]:
                self._await_reset(b)
                continue
            self._advance[b] = self._envs[b].step
            seen = self._replay(b, arrays[f"actions.{b}"])
            if not np.array_equal(seen, observations[b], equal_nan=seen.dtype.kind == "f"):
                raise UserError(
                    f"{self._name(b)} cannot be resumed exactly: after the same seed and the same "
                    f"{len(arrays[f'actions.{b}'])} actions it shows another observation, so it "
                    "draws on something that reset(seed=...) does not set"
                )
        self._current = observations
        return True

    def _replay(self, b: int, actions: NDArray[Any]) -> NDArray[Any]:
        try:
            seen = self._reset_to(b)
            for action in self._converted(actions):
                seen = as_declared(
                    self._envs[b].step(action)[0], self.spaces.observation, self._source
                )
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._name(b)}: replay failed: {described(error)}") from error
        return seen

    def close(self) -> None:
        for env in self._envs:
            env.close()  # type: ignore[no-untyped-call]


def abandon(env: gymnasium.Env[Any, Any]) -> None:
    """Close an environment that may not be able to."""
    with suppress(Exception):
        env.close()  # type: ignore[no-untyped-call]

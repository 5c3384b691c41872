"""Steps environments by their own batched form, for which all of them are one array: no Python is
run for each.
"""

from contextlib import suppress
from inspect import isclass, signature
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from numpy.typing import NDArray

from covey.envs.atari import is_preprocessed, make_games
from covey.envs.replacements import Replacements
from covey.envs.source import EnvSource, described, import_registering_module
from covey.envs.spaces import describe_action, describe_observation
from covey.platform.errors import UserError
from covey.platform.runtime.interfaces import Arrays, Record
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive_int


def has_batched_form(source: EnvSource) -> bool:
    """Whether Gymnasium knows a batched form of the environment that resets as rows do and takes
    the job's arguments. Raises UserError if the module that registers it cannot be imported.
    """
    if is_preprocessed(source):
        return True
    spec = gymnasium.registry.get(import_registering_module(source))
    if spec is None or spec.vector_entry_point is None or spec.additional_wrappers:
        return False
    entry = spec.vector_entry_point
    try:
        form: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    except (ImportError, AttributeError):
        return False
    if not isclass(form) or not issubclass(form, GymnasiumVectorEnv):
        return False
    # The metadata that every form inherits says nothing of this one.
    said = {} if form.metadata is GymnasiumVectorEnv.metadata else form.metadata
    resets_as_rows_do = said.get("autoreset_mode") == AutoresetMode.NEXT_STEP
    return resets_as_rows_do and set(source.kwargs) <= set(signature(form).parameters)


def make_batch(source: EnvSource, count: int) -> GymnasiumVectorEnv[Any, Any, Any]:
    """`count` environments in their batched form. Raises UserError."""
    if is_preprocessed(source):
        return make_games(source, count)
    registered = import_registering_module(source)
    try:
        return gymnasium.make_vec(
            registered, num_envs=count, vectorization_mode="vector_entry_point", **source.kwargs
        )
    except Exception as error:
        raise UserError(f"{source}: making it failed: {described(error)}") from error


class BatchedEnv:
    """`count` environments, numbered from `first`, seeded once from (root seed, role, first) and
    the number of resets of them all.

    Episodes therefore depend on how environments are spread, and none can be replayed: after a
    resume new ones begin. An error is one of all environments together, which are replaced.
    """

    def __init__(
        self,
        source: EnvSource,
        count: int,
        first: int,
        root_seed: int,
        role: str = "environment",
    ) -> None:
        self._source = source
        self._seed = (root_seed, role, first)
        self._batch = make_batch(source, count)
        self.count = count
        self.spaces = Spaces(
            describe_observation(self._batch.single_observation_space, str(source)),
            describe_action(self._batch.single_action_space, str(source)),
        )
        self._resets = 0
        self._replacements = Replacements(1)
        self.failures = 0
        self._new = False
        self._over = np.zeros(count, dtype=np.bool_)
        self._current = np.zeros(
            (count, *self.spaces.observation.shape), dtype=self.spaces.observation.dtype
        )

    def __str__(self) -> str:
        return str(self._source)

    def reset(self, observations: NDArray[Any]) -> None:
        while not self._begin(observations):
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
        if self._new:
            no_transitions(rewards, terminated, truncated, valid)
            self._begin(observations)
        else:
            try:
                seen, gained, ended, cut, _ = self._batch.step(
                    self.spaces.action.to_environment(actions)
                )
            except Exception as error:
                self._replace("step", error)
                observations[...] = self._current
                no_transitions(rewards, terminated, truncated, valid)
            else:
                self._show(seen, observations)
                rewards[...] = gained
                terminated[...] = ended
                truncated[...] = cut
                np.logical_not(self._over, out=valid)
                np.logical_or(ended, cut, out=self._over)
        self._current = observations

    def _begin(self, observations: NDArray[Any]) -> bool:
        """Reset them all; if that fails, replace them and show what was last seen: False."""
        root_seed, role, first = self._seed
        # Some forms count on from the seed, one for each environment: halved, there is room.
        seed = derive_int(root_seed, role, first, self._resets) >> 1
        self._resets += 1
        try:
            seen, _ = self._batch.reset(seed=seed)
        except Exception as error:
            self._replace("reset", error)
            observations[...] = self._current
            return False
        self._show(seen, observations)
        self._new = False
        self._over.fill(False)
        return True

    def _show(self, seen: Any, observations: NDArray[Any]) -> None:
        if seen.shape != observations.shape:
            raise UserError(
                f"{self._source}: its observations have shape {seen.shape}, "
                f"its spaces declare {observations.shape}"
            )
        observations[...] = seen

    def _replace(self, act: str, error: Exception) -> None:
        self._replacements.note(0, f"{self._source} (batched)", act, error)
        self.failures += 1
        with suppress(Exception):
            self._batch.close()
        self._batch = make_batch(self._source, self.count)
        self._new = True

    def state(self) -> tuple[Record, Arrays]:
        return {"resets": self._resets}, {}

    def restore(self, record: Record, arrays: Arrays, observations: NDArray[Any]) -> bool:
        # The record may be that of single environments, which count their episodes.
        self._resets = record.get("resets", 1 + max(record.get("episode", [0])))
        self.reset(observations)
        return False

    def close(self) -> None:
        self._batch.close()


def no_transitions(
    rewards: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> None:
    """Write a row, or a part of one, in which nothing was done."""
    rewards[...] = 0
    terminated[...] = False
    truncated[...] = False
    valid[...] = False

"""Games of the Arcade Learning Environment as agents learn them: four grey 84 x 84 pictures, an
action for every four frames, up to 30 idle ones at the start, rewards clipped to [-1, 1].

All of it is done in C++ by ale_py's own batched form, and so are single games, as batches of one:
both forms show and do the same. The job's `kwargs` change it (ale_py.vector_env.AtariVectorEnv).
"""

from dataclasses import replace
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv as GymnasiumVectorEnv
from numpy.typing import NDArray

from covey.envs.source import EnvSource, described, import_registering_module, unknown_id
from covey.platform.errors import UserError


def is_preprocessed(source: EnvSource) -> bool:
    """Whether a source's games are shown in this form. Raises UserError if it is asked for where it
    cannot be had.
    """
    if source.preprocess == "atari" and not source.is_ale:
        raise UserError(f"{source}: preprocess: atari is for games named ALE/...")
    return source.is_ale and source.preprocess != "none"


def with_its_own_score(source: EnvSource) -> EnvSource:
    """For evaluations: the game's score is not clipped, unless the job says so itself."""
    if not is_preprocessed(source):
        return source
    return replace(source, kwargs={"reward_clipping": False, **source.kwargs})


def make_games(source: EnvSource, count: int) -> GymnasiumVectorEnv[Any, Any, Any]:
    """`count` games in one batch, stepped by one thread beside the caller's. Raises UserError."""
    registered = import_registering_module(source)
    kwargs = {"num_threads": 1, **source.kwargs}
    try:
        return gymnasium.make_vec(
            registered, num_envs=count, vectorization_mode="vector_entry_point", **kwargs
        )
    except gymnasium.error.UnregisteredEnv as error:
        raise UserError(f"{source}: {unknown_id(registered) or error}") from error
    except TypeError as error:
        raise UserError(
            f"{source}: making it failed: {described(error)}; "
            "the arguments of ale_py's AtariEnv are for preprocess: none"
        ) from error
    except Exception as error:
        raise UserError(f"{source}: making it failed: {described(error)}") from error


class AtariGame(gymnasium.Env[NDArray[np.uint8], Any]):
    """One game. Its picture to look at is the newest of the four."""

    def __init__(self, source: EnvSource) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 15}
        kwargs = dict(source.kwargs)
        self.render_mode = cast(str | None, kwargs.pop("render_mode", None))
        self._games = make_games(replace(source, kwargs=kwargs), 1)
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space
        self._discrete = isinstance(self.action_space, gymnasium.spaces.Discrete)
        self._seen: NDArray[np.uint8] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        seen, _ = self._games.reset(seed=seed)
        self._seen = seen[0]
        return seen[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        actions = np.array([action], dtype=np.int64 if self._discrete else np.float32)
        seen, rewards, terminated, truncated, _ = self._games.step(actions)
        self._seen = seen[0]
        return seen[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> Any:
        """The newest picture as [height, width, 3]; None before the first reset."""
        if self._seen is None or self.render_mode is None:
            return None
        newest = self._seen[-1]
        return newest if newest.ndim == 3 else np.repeat(newest[..., None], 3, axis=-1)

    def close(self) -> None:
        self._games.close()

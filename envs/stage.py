"""One environment played to be looked at: an episode step by step, with a picture of each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from covey.envs.make import EnvSource, described, is_parallel, make_env, make_parallel
from covey.envs.particles.environments import ParticleEnv
from covey.envs.particles.picture import draw
from covey.envs.spaces import describe_spaces
from covey.envs.world import Outcome, World, describe_parallel
from covey.platform.environment import drawing_off_screen
from covey.platform.errors import UserError

MODE = "rgb_array"
DEFAULT_FPS = 30.0


class CannotRender(Exception):
    """There is no picture of this environment; the message says why, for users."""


class Stage(Protocol):
    """Where an episode is played. B columns: one, or one for each agent."""

    step_s: float
    """What a step lasts when it is shown at the environment's own pace."""

    def begin(self, seed: int) -> NDArray[Any]:
        """Start an episode; the raw observations [B, ...]."""

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        """Take a policy's actions [B, ...]; the next observations, and whether that was the end."""

    def picture(self) -> NDArray[np.uint8]:
        """What it looks like now: [H, W, 3]."""

    def close(self) -> None: ...


def open_stage(source: EnvSource) -> Stage:
    """A stage that has shown that it can draw. Raises CannotRender."""
    with _quietly():
        stage = _make_stage(source)
        try:
            stage.begin(seed=0)
            with drawing_off_screen():
                stage.picture()
        except CannotRender:
            stage.close()
            raise
        except Exception as error:
            stage.close()
            raise CannotRender(f"{source}: drawing it failed: {described(error)}") from error
    return stage


def _make_stage(source: EnvSource) -> Stage:
    drawn = replace(source, kwargs={**source.kwargs, "render_mode": MODE})
    try:
        if source.is_particles:
            return ParticleStage(source)
        return ParallelStage(drawn) if is_parallel(source) else GymnasiumStage(drawn)
    except UserError as error:
        raise CannotRender(_why_not_made(source, error)) from error


class GymnasiumStage:
    """One agent."""

    def __init__(self, source: EnvSource) -> None:
        """Raises UserError when it cannot be made."""
        self._source = source
        self._env = make_env(source)
        self._spaces = describe_spaces(self._env, str(source))
        self.step_s = _step_s(self._env)
        _draw_fast(self._env)

    def begin(self, seed: int) -> NDArray[Any]:
        seen, _ = self._env.reset(seed=seed)
        return self._row(seen)

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        action = self._spaces.action.to_environment(actions)[0]
        seen, _, terminated, truncated, _ = self._env.step(action)
        return self._row(seen), bool(terminated or truncated)

    def picture(self) -> NDArray[np.uint8]:
        return as_picture(self._env.render(), self._source)

    def close(self) -> None:
        self._env.close()  # type: ignore[no-untyped-call]

    def _row(self, seen: Any) -> NDArray[Any]:
        return np.asarray(seen, dtype=self._spaces.observation.dtype)[None]


class ParallelStage:
    """All agents of a PettingZoo environment."""

    def __init__(self, source: EnvSource) -> None:
        """Raises UserError when it cannot be made."""
        self._source = source
        self._env = make_parallel(source)
        agents, self._spaces = describe_parallel(self._env, str(source))
        self._world = World(source, agents, self._env)
        self._seen = Outcome.allocate(len(agents), self._spaces).observations
        self.step_s = _step_s(self._env)

    def begin(self, seed: int) -> NDArray[Any]:
        self._seen = np.zeros_like(self._seen)
        self._world.reset(seed, self._seen)
        return self._seen

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        taken = self._spaces.action.to_environment(actions)
        outcome = Outcome.allocate(len(actions), self._spaces)
        discrete = self._spaces.action.kind == "discrete"
        self._world.step(taken.tolist() if discrete else taken, self._seen, outcome)
        self._seen = outcome.observations
        return self._seen, self._world.over

    def picture(self) -> NDArray[np.uint8]:
        return as_picture(self._env.render(), self._source)

    def close(self) -> None:
        self._env.close()


class ParticleStage:
    """One of our own particle worlds."""

    step_s = 0.1

    def __init__(self, source: EnvSource) -> None:
        """Raises UserError when it cannot be made."""
        self._source = source

    def begin(self, seed: int) -> NDArray[Any]:
        self._world = ParticleEnv(self._source, 1, 0, seed, "stage")
        self._row = Outcome.allocate(self._world.count, self._world.spaces)
        self._world.reset(self._row.observations)
        return self._row.observations

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        row = self._row
        outcome = row.rewards, row.terminated, row.truncated, row.valid
        self._world.step(actions, row.observations, *outcome)
        return row.observations, bool(row.truncated.all())

    def picture(self) -> NDArray[np.uint8]:
        return draw(self._world.scenario)

    def close(self) -> None:
        pass


def _step_s(env: Any) -> float:
    """Of an environment that does not say how fast it is to be shown, as of most."""
    return 1 / float(env.metadata.get("render_fps") or DEFAULT_FPS)


def as_picture(drawn: object, source: EnvSource) -> NDArray[np.uint8]:
    """What an environment has rendered, if that is a picture; raises CannotRender."""
    if isinstance(drawn, np.ndarray) and drawn.ndim == 3 and drawn.shape[2] == 3:
        return np.ascontiguousarray(drawn, dtype=np.uint8)
    raise CannotRender(f"{source}: render() returns no picture of shape [H, W, 3]")


def _why_not_made(source: EnvSource, error: UserError) -> str:
    """The error, unless it is that the environment does not know `render_mode`."""
    try:
        env = make_parallel(source) if is_parallel(source) else make_env(source)
    except UserError:
        return str(error)
    modes = list(env.metadata.get("render_modes") or [])
    env.close()
    if MODE in modes:
        return str(error)
    return f"{source} draws no pictures: {MODE!r} is not among its render_modes {modes}"


def _draw_fast(env: gymnasium.Env[Any, Any]) -> None:
    """Leave out shadows and smooth edges where MuJoCo draws without a GPU: ten times faster."""
    if hasattr(env.unwrapped, "mujoco_renderer"):
        quality = env.unwrapped.model.vis.quality  # type: ignore[attr-defined]
        quality.shadowsize = quality.offsamples = 0


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Gymnasium's warnings about render modes: `CannotRender` says what matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

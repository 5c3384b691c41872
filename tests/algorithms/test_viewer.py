import io
import pickle
from functools import partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from PIL import Image

from covey.algorithms.viewer import PAUSE, Viewer, affordable_frames
from covey.envs.make import EnvSource
from covey.envs.stage import Stage
from covey.platform.runtime.crew import InlineCrew
from covey.platform.runtime.fragment import Weights


class Push:
    """A policy that always does what its weights say."""

    def load(self, arrays: Any) -> None:
        self._action = arrays["action"]

    def sample(self, observations: Any, generator: Any) -> Any:
        raise AssertionError("a viewer shows the most likely actions")

    def best(self, observations: Any) -> Any:
        return np.repeat(self._action, len(observations))


class Clock:
    """Each look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Moody(gymnasium.Env[np.ndarray, int]):
    """Breaks when it is told to do 1."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self._step = 0
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        if action == 1:
            raise RuntimeError("in a bad mood")
        self._step += 1
        return np.zeros(2, dtype=np.float32), 0.0, self._step == 3, False, {}

    def render(self):
        return np.full((40, 60, 3), 50 * self._step, dtype=np.uint8)


@pytest.fixture
def moody():
    gymnasium.register("Moody-v0", Moody)
    yield EnvSource("Moody-v0")
    del gymnasium.registry["Moody-v0"]


def weights(version: int, action: int = 0) -> Weights:
    return Weights(version, {"action": np.array(action)})


def colours(data: bytes) -> list[int]:
    """The grey of each frame."""
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.format == "GIF"
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append(gif.convert("RGB").getpixel((5, 5))[0])
    return found


def test_draws_the_curves_and_the_newest_weights_episode(moody: EnvSource) -> None:
    factory = pickle.loads(pickle.dumps(partial(Viewer, moody, Push, "toy")))
    crew = InlineCrew()
    worker = crew.spawn("viewer", factory)
    (pictures,) = crew.fetch([worker.submit("draw", [{"step": 1.0, "wall_s": 1.0}], weights(0))])
    assert set(pictures) == {"live.png", "episode.gif"}
    with Image.open(io.BytesIO(pictures["live.png"])) as picture:
        assert picture.format == "PNG"
    assert colours(pictures["episode.gif"]) == [0, 50, 100, 150], "up to its last state"
    (pictures,) = crew.fetch([worker.submit("draw", [], None)])
    assert set(pictures) == {"live.png"}
    crew.close()


def test_episodes_are_shown_when_weights_are_new_and_at_a_distance(moody: EnvSource) -> None:
    clock = Clock()
    viewer = Viewer(moody, Push, "toy", clock=clock)
    assert "episode.gif" in viewer.draw([], weights(4))
    assert "episode.gif" not in viewer.draw([], weights(5)), "too soon"
    clock.now += 2 * PAUSE
    assert "episode.gif" not in viewer.draw([], weights(4)), "shown before"
    assert "episode.gif" in viewer.draw([], weights(5))
    assert not viewer.reason
    viewer.close()


def test_an_environment_that_breaks_is_said_once_and_tried_again(moody: EnvSource) -> None:
    clock = Clock()
    viewer = Viewer(moody, Push, "toy", clock=clock)
    for version in (0, 1):
        clock.now += 10 * PAUSE
        assert set(viewer.draw([], weights(version, action=1))) == {"live.png"}
    assert viewer.reason.startswith("environment Moody-v0: playing an episode failed")
    assert "in a bad mood" in viewer.reason
    clock.now += 10 * PAUSE
    assert "episode.gif" in viewer.draw([], weights(2))
    assert not viewer.reason
    viewer.close()


def test_an_environment_that_draws_no_pictures_is_not_tried_again() -> None:
    clock = Clock()
    viewer = Viewer(EnvSource("NoSuchThing-v0"), Push, "toy", clock=clock)
    plain = viewer.draw([], None)["live.png"]
    with_reason = viewer.draw([], weights(0))
    assert set(with_reason) == {"live.png"}
    assert with_reason["live.png"] != plain, "the picture says why"
    assert "not a registered" in viewer.reason
    clock.now += 10 * PAUSE
    assert set(viewer.draw([], weights(1))) == {"live.png"}


class Slow:
    """A stage whose pictures take some CPU time."""

    step_s = 0.1

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds

    def picture(self) -> Any:
        return sum(range(self._rounds))


@pytest.mark.parametrize(("rounds", "frames"), [(0, 300), (30_000_000, 30)])
def test_fewer_frames_where_drawing_takes_long(rounds: int, frames: int) -> None:
    stage: Stage = Slow(rounds)  # type: ignore[assignment]
    assert affordable_frames(stage) == frames

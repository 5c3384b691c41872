import ctypes.util
import os
from collections.abc import Iterator
from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from covey.envs.make import EnvSource
from covey.envs.stage import CannotRender, as_picture, open_stage
from covey.platform.environment import drawing_off_screen


class Blind(gymnasium.Env[np.ndarray, int]):
    """Does not know what a render mode is."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        return np.zeros(2, dtype=np.float32), 0.0, True, False, {}


class Broken(Blind):
    """Says that it draws pictures."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        return ["no picture"]


class Torn(Broken):
    def render(self):
        raise RuntimeError("out of paint")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for entry in (Blind, Broken, Torn):
        gymnasium.register(f"Stage{entry.__name__}-v0", entry)
    yield
    for entry in (Blind, Broken, Torn):
        del gymnasium.registry[f"Stage{entry.__name__}-v0"]


def test_plays_an_episode_and_shows_it() -> None:
    stage = open_stage(EnvSource("CartPole-v1"))
    try:
        assert stage.step_s == 1 / 50
        first = stage.begin(seed=3)
        assert first.shape == (1, 4)
        before = stage.picture()
        assert (before.shape, before.dtype) == ((400, 600, 3), np.uint8)
        steps, ended = 0, False
        while not ended:
            seen, ended = stage.step(np.array([1]))
            steps += 1
        assert seen.shape == (1, 4)
        assert 5 < steps < 20, "pushed to one side, the pole falls soon"
        assert (stage.picture() != before).any()
        np.testing.assert_array_equal(stage.begin(seed=3), first)
    finally:
        stage.close()


def test_shows_all_agents_of_a_parallel_environment() -> None:
    stage = open_stage(EnvSource("mpe2.simple_spread_v3", {"N": 2, "max_cycles": 3}))
    try:
        assert stage.begin(seed=0).shape == (2, 12)
        before = stage.picture()
        ends = [stage.step(np.array([1, 3]))[1] for _ in range(3)]
        assert ends == [False, False, True]
        assert stage.picture().shape == before.shape
        assert (stage.picture() != before).any()
    finally:
        stage.close()


def test_shows_a_game_as_its_agent_sees_it() -> None:
    stage = open_stage(EnvSource("ALE/Pong-v5"))
    try:
        assert stage.begin(seed=0).shape == (1, 4, 84, 84)
        assert stage.picture().shape == (84, 84, 3)
    finally:
        stage.close()


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("StageBlind-v0", r"draws no pictures: 'rgb_array' is not among its render_modes \[\]"),
        ("StageBroken-v0", r"render\(\) returns no picture of shape \[H, W, 3\]"),
        ("StageTorn-v0", r"drawing it failed: RuntimeError: out of paint"),
        ("NoSuchThing-v0", r"is not a registered Gymnasium environment"),
        ("mpe2.nothing_here", r"no module 'mpe2.nothing_here'"),
    ],
)
def test_says_why_there_is_no_picture(env_id: str, reason: str) -> None:
    with pytest.raises(CannotRender, match=f"^environment {env_id}.*{reason}"):
        open_stage(EnvSource(env_id))


@pytest.mark.parametrize("drawn", [None, [], np.zeros((4, 4)), np.zeros((4, 4, 4))])
def test_only_a_picture_is_one(drawn: object) -> None:
    with pytest.raises(CannotRender):
        as_picture(drawn, EnvSource("It-v0"))


# Where there is no EGL, Gymnasium's half-made renderer complains once more when it is freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mujoco_is_drawn_where_there_is_egl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")  # as `prepare_libraries` has it
    source = EnvSource("InvertedPendulum-v5")
    if ctypes.util.find_library("EGL") is None:
        with pytest.raises(CannotRender, match="InvertedPendulum-v5: drawing it failed"):
            open_stage(source)
        return
    stage = open_stage(source)
    stage.begin(seed=0)
    picture = stage.picture()
    stage.close()
    assert picture.std() > 10, "it is not of one colour"
    assert os.environ["MUJOCO_GL"] == "disable"


def test_what_the_user_set_for_drawing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for before, inside in (("osmesa", "osmesa"), ("disable", "egl"), (None, "egl")):
        if before is None:
            monkeypatch.delenv("MUJOCO_GL")
        else:
            monkeypatch.setenv("MUJOCO_GL", before)
        with drawing_off_screen():
            assert os.environ["MUJOCO_GL"] == inside
        assert os.environ.get("MUJOCO_GL") == before

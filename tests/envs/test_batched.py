"""Batched forms: the same rows as single environments, next-step reset, replacement, Atari."""

import pickle
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from covey.envs.batched import BatchedEnv
from covey.envs.make import EnvSource, make_environments
from covey.envs.single import make_env
from covey.envs.vector import VectorEnv
from covey.platform.errors import UserError
from covey.platform.seeds import derive_int

THIRD_PARTY = str(Path(__file__).parent / "third_party")
PONG = EnvSource("ALE/Pong-v5", {"max_num_frames_per_episode": 40})


def tallies(**kwargs):
    return EnvSource("lights.tally:Tally-v0", kwargs, THIRD_PARTY)


def make(source, count=2, **kwargs):
    return make_environments(source, count, 0, root_seed=5, **kwargs)


@pytest.mark.parametrize(
    ("source", "replayable", "form"),
    [
        (EnvSource("CartPole-v1"), False, BatchedEnv),
        (EnvSource("CartPole-v1", {"sutton_barto_reward": True}), False, BatchedEnv),
        (EnvSource("CartPole-v1"), True, VectorEnv),
        (EnvSource("Pendulum-v1"), False, VectorEnv),
        (tallies(), False, BatchedEnv),
        (tallies(note="only the single form takes this"), False, VectorEnv),
        (EnvSource("lights.tally:SameStep-v0", {}, THIRD_PARTY), False, VectorEnv),
        (PONG, False, BatchedEnv),
        (EnvSource("ALE/Pong-v5", {}, None, "none"), False, VectorEnv),
    ],
    ids=str,
)
def test_the_batched_form_is_taken_where_there_is_one_that_fits(source, replayable, form):
    envs = make(source, replayable=replayable)
    assert type(envs) is form
    envs.close()


def test_an_ended_episode_is_followed_by_a_row_without_a_step(stepper):
    rows = stepper(make(tallies(lengths=(2, 3))))
    shown = []
    for _ in range(5):
        rows.step([0, 1])
        shown.append((rows.seen(), rows.valid.tolist(), rows.terminated.tolist()))
        assert rows.rewards.tolist() == rows.valid.tolist() and not rows.truncated.any()
    assert shown == [
        ([1, 1], [True, True], [False, False]),
        ([2, 2], [True, True], [True, False]),
        ([0, 3], [False, True], [False, True]),
        ([1, 0], [True, False], [False, False]),
        ([2, 1], [True, True], [True, False]),
    ]


def test_cartpole_keeps_its_time_limit_and_moves_as_the_single_one_does(stepper):
    rows = stepper(make(EnvSource("CartPole-v1", {"max_episode_steps": 6}), count=4))
    single = gymnasium.make("CartPole-v1").unwrapped
    for step in range(20):
        single.reset()
        single.state = rows.observations[0].astype(np.float64)
        rows.step([1, 0, 1, 0])
        if rows.valid[0]:
            expected, reward, terminated, _, _ = single.step(1)
            np.testing.assert_allclose(rows.observations[0], expected, atol=1e-6)
            assert (rows.rewards[0], rows.terminated[0]) == (reward, terminated)
        assert rows.valid.all() == (step % 7 != 6)
        assert rows.truncated.all() == (step % 7 == 5)


def test_every_group_reset_and_role_has_seeds_of_its_own(stepper):
    def first(*args):
        return stepper(BatchedEnv(EnvSource("CartPole-v1"), 3, *args)).observations

    np.testing.assert_array_equal(first(0, 5), first(0, 5))
    rows = stepper(BatchedEnv(EnvSource("CartPole-v1"), 3, 0, 5))
    seen = [rows.observations, first(3, 5), first(0, 6), first(0, 5, "evaluation")]
    resumed = BatchedEnv(EnvSource("CartPole-v1"), 3, 0, 5)
    again = np.zeros_like(seen[0])
    assert not resumed.restore(*rows.envs.state(), again)
    assert len({array.tobytes() for array in [*seen, again]}) == 5


def test_a_batch_that_raises_is_replaced_whole(stepper):
    rows = stepper(make(tallies(lengths=(50, 50))))
    rows.step([0, 0])
    rows.step([2, 0])
    assert rows.seen() == [1, 1] and not rows.valid.any() and rows.rewards.tolist() == [0, 0]
    rows.step([0, 0])
    assert rows.seen() == [0, 0] and not rows.valid.any() and rows.envs.failures == 1
    rows.step([0, 0])
    assert rows.seen() == [1, 1] and rows.valid.all()
    with pytest.raises(UserError, match=r"Tally-v0 \(batched\): step failed: .*abacus"):
        rows.step([2, 0])


def test_a_game_is_shown_alike_in_both_forms(stepper):
    batched = stepper(make(PONG))
    single = make_env(PONG)
    seen, _ = single.reset(seed=derive_int(5, "environment", 0, 0) >> 1)
    assert seen.shape == (4, 84, 84) and seen.dtype == np.uint8
    other_alike = []
    for action in (2, 3, 2, 2, 3, 0, 0, 0, 1, 0):
        other_alike.append(np.array_equal(batched.observations[1], seen))
        np.testing.assert_array_equal(batched.observations[0], seen)
        batched.step([action] * 2)
        seen, reward, _, truncated, _ = single.step(action)
        assert batched.rewards[0] == reward and batched.truncated[0] == truncated
    assert truncated and batched.valid.all() and not all(other_alike)
    batched.step([0] * 2)
    assert not (batched.valid | batched.truncated).any()
    batched.envs.close()


@pytest.mark.parametrize("taken", [10, 14])
def test_a_game_is_replayed_exactly_at_the_end_of_an_episode_and_within(taken, stepper):
    rows = stepper(make(PONG, count=1, replayable=True))
    actions = np.random.default_rng(3).integers(0, 6, (26, 1))
    for action in actions[:taken]:
        rows.step(action)
    resumed = rows.saved_into(make(PONG, count=1, replayable=True))
    for action in actions[taken:]:
        rows.go_on_as(resumed, action)


def test_a_game_counts_its_own_score_only_in_evaluations():
    # The first row of bricks hit in Space Invaders is worth 5 points.
    scores = {}
    for role in ("environment", "evaluation"):
        envs = make(EnvSource("ALE/SpaceInvaders-v5"), 1, role=role, replayable=True)
        seen = np.zeros((1, 4, 84, 84), np.uint8)
        rewards, flags = np.zeros(1, np.float32), np.zeros((3, 1), bool)
        envs.reset(seen)
        scores[role] = set()
        for step in range(120):
            envs.step(np.array([step % 2]), seen, rewards, *flags)
            scores[role].add(float(rewards[0]))
        envs.close()
    assert max(scores["environment"]) == 1 and max(scores["evaluation"]) >= 5


def test_a_game_can_be_looked_at():
    game = make_env(EnvSource("ALE/Pong-v5", {"render_mode": "rgb_array"}))
    seen, _ = game.reset(seed=1)
    picture = game.render()
    assert picture.shape == (84, 84, 3)
    np.testing.assert_array_equal(picture[..., 1], seen[-1])
    game.close()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (EnvSource("CartPole-v1", {}, None, "atari"), "preprocess: atari is for games named ALE"),
        (EnvSource("ALE/Pong-v5", {"obs_type": "ram"}), "obs_type.*preprocess: none"),
        (EnvSource("ALE/Pnog-v5"), "ALE/Pnog-v5"),
        (tallies(lengths=3), "making it failed"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(source, words):
    for replayable in (False, True):
        with pytest.raises(UserError, match=words) as caught:
            make(source, replayable=replayable)
        assert "\n" not in str(caught.value)


def test_a_source_travels_to_other_processes():
    source = EnvSource("ALE/Pong-v5", {"noop_max": 0}, "code", "none")
    assert pickle.loads(pickle.dumps(source)) == source

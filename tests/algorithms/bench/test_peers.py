"""The peers: where they are found, and when a threshold counts as reached."""

from pathlib import Path

import pytest

from covey.algorithms.bench.peer import chosen_peers, peers_python
from covey.algorithms.bench.peers.reached import Reached
from covey.algorithms.bench.sampling import ENVIRONMENTS, chosen_environments
from covey.platform.errors import UserError


def test_a_missing_peers_environment_is_one_line_that_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make bench-peers` in") as caught:
        peers_python(tmp_path, "sb3")
    assert len(str(caught.value).splitlines()) == 1


def test_a_peers_environment_that_is_set_up_is_found(tmp_path: Path) -> None:
    (tmp_path / ".venv-peers").mkdir()
    (tmp_path / ".venv-peers" / ".ready").touch()
    assert peers_python(tmp_path, "sb3") == tmp_path / ".venv-peers" / "bin" / "python"


def test_peers_are_chosen_by_name() -> None:
    assert chosen_peers("rllib, rllib") == ("rllib",)
    assert chosen_peers("none") == chosen_peers("") == ()
    with pytest.raises(UserError, match="no peer is called 'rlib'; known: rllib, sb3; nearest: rl"):
        chosen_peers("rlib")


def test_environments_are_chosen_by_id() -> None:
    assert chosen_environments(None, ENVIRONMENTS) == list(ENVIRONMENTS)
    assert chosen_environments(["Pendulum-v1"], ENVIRONMENTS) == ["Pendulum-v1"]
    with pytest.raises(UserError, match="nearest: CartPole-v1"):
        chosen_environments(["CartPole-v0"], ENVIRONMENTS)


def test_a_threshold_needs_a_hundred_episodes() -> None:
    reached = Reached(threshold=475, limit_s=60)
    reached.take_in([500.0] * 99)
    assert not reached.solved and not reached.over
    reached.take_in([0.0])
    assert reached.solved and reached.over
    assert reached.record(7)["episode_return_mean"] == 495.0


def test_only_the_newest_episodes_count_and_reaching_it_once_is_enough() -> None:
    reached = Reached(threshold=10, limit_s=60)
    reached.take_in([0.0] * 100 + [10.0] * 99)
    assert not reached.solved
    reached.take_in([10.0, 0.0])
    assert reached.solved


def test_training_is_over_when_its_time_is() -> None:
    reached = Reached(threshold=10, limit_s=0)
    assert reached.over and not reached.solved
    assert reached.record(0)["episode_return_mean"] is None

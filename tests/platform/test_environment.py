"""Where Covey lives, and the token that Ray answers to."""

import os
import stat
from pathlib import Path

import pytest

from covey.platform.environment import covey_home, prepare_libraries, ray_token_file


def test_home_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COVEY_HOME", str(tmp_path))
    assert covey_home() == tmp_path
    monkeypatch.delenv("COVEY_HOME")
    assert covey_home() == Path.home() / ".covey"


def test_token_is_made_once_for_its_owner_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COVEY_HOME", str(tmp_path))
    token = ray_token_file().read_text()
    assert len(token) == 64
    assert stat.S_IMODE(ray_token_file().stat().st_mode) == 0o600
    assert ray_token_file().read_text() == token
    assert [path.name for path in ray_token_file().parent.iterdir()] == ["token"]


@pytest.mark.usefixtures("own_environment")
def test_a_ray_of_our_own_always_demands_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    prepare_libraries()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    prepare_libraries(own_ray=True)
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_token_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COVEY_HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    prepare_libraries()
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert not (tmp_path / "ray").exists()

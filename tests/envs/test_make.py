"""Making environments: registered ones, a third party's, and what is said when it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from covey.envs.make import EnvSource, make_env, unknown_id
from covey.platform.errors import UserError

THIRD_PARTY = str(Path(__file__).parent / "third_party")


def test_makes_a_registered_environment_with_arguments():
    env = make_env(EnvSource("CartPole-v1", {"sutton_barto_reward": True}))
    assert env.unwrapped._sutton_barto_reward


def test_makes_a_third_partys_environment_from_the_code_folder():
    env = make_env(EnvSource("lights.world:Count-v0", {"length": 2}, THIRD_PARTY))
    env.reset(seed=1)
    env.step(0)
    assert env.step(0)[2] is True


def test_makes_an_environment_whose_package_registers_only_when_imported():
    pytest.importorskip("ale_py")
    whole = EnvSource("ALE/Pong-v5", preprocess="none")
    assert make_env(whole).observation_space.shape == (210, 160, 3)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (EnvSource("CartPol-v1"), ["CartPol-v1", "did you mean CartPole-v1"]),
        (EnvSource("lights.worlds:Count-v0", {}, THIRD_PARTY), ["'lights.worlds'", THIRD_PARTY]),
        (EnvSource("nowhere.at_all:X-v0"), ["no module 'nowhere' in the installed packages"]),
        (EnvSource("lights.world:Cuont-v0", {}, THIRD_PARTY), ["did you mean Count-v0"]),
        (EnvSource("lights.world:Count-v0", {"size": 3}, THIRD_PARTY), ["failed", "size"]),
        (EnvSource("lights.world:Faulty-v0", {"fault": "make"}, THIRD_PARTY), ["no power"]),
    ],
)
def test_what_goes_wrong_is_one_line_with_the_environments_name(source, words):
    with pytest.raises(UserError) as caught:
        make_env(source)
    message = str(caught.value)
    assert source.id in message and "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_optional_package_comes_with_the_way_to_install_it():
    script = (
        "import sys; sys.modules['ale_py'] = None\n"
        "from covey.envs.make import EnvSource, make_env\n"
        "from covey.platform.errors import UserError\n"
        "try: make_env(EnvSource('ALE/Pong-v5'))\n"
        "except UserError as error: print(error)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install ale-py" in output.stdout, output.stderr


def test_ids_are_checked_without_importing_anything_of_the_jobs():
    assert unknown_id("CartPole-v1") is None
    assert unknown_id("ALE/Pong-v5") is None
    assert unknown_id("mpe2.simple_spread_v3") is None
    assert "did you mean" in unknown_id("LunarLandr-v3")

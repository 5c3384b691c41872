"""The Dockerfile as far as it can be read; `chroot_image.py` does its steps."""

from pathlib import Path

import pytest
from chroot_image import DOCKERFILE, ROOT, VOLUMES, Image, Stage, context, instructions

from covey.platform.kubernetes.pods import USER
from covey.platform.kubernetes.ray_kinds import ENVIRONMENT, HOME

STEPS = list(instructions(DOCKERFILE.read_text()))


def test_instructions_are_read_as_an_engine_does() -> None:
    text = "# one\nFROM x AS y\nRUN a && \\\n  # between\n  b\n\nENV A=1\n"
    assert list(instructions(text)) == [("FROM", "x AS y"), ("RUN", "a &&    b"), ("ENV", "A=1")]
    assert [name for name, _ in STEPS].count("FROM") == 2


def test_the_images_user_and_folders_are_those_of_the_pods() -> None:
    last = dict(STEPS)  # of each instruction the last one
    assert last["USER"] == f"{USER}:{USER}"
    words = {word for name, rest in STEPS if name == "ENV" for word in rest.split()}
    settings = dict(word.split("=", 1) for word in words)
    assert settings["COVEY_HOME"] == HOME
    assert {key: settings[key] for key in ENVIRONMENT} == ENVIRONMENT
    # What the pods let it write, and the script: /covey, /tmp, /dev/shm.
    assert {HOME, "/tmp", "/dev/shm"} == {f"/{volume}" for volume in VOLUMES}


def test_the_context_has_what_is_copied_and_no_more() -> None:
    for name, rest in STEPS:
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert next(context(ROOT / source), None), source
    for source in ("tests", ".git", "deploy/kustomize", "Makefile"):
        assert list(context(ROOT / source)) == []
    links = {file.name for file in context(ROOT / ".src")}
    assert links == {"algorithms", "envs", "federation", "platform"}


def test_everything_is_installed_in_the_versions_of_the_lock() -> None:
    installs = [part for name, rest in STEPS if name == "RUN" for part in rest.split("&&")]
    installs = [part for part in installs if "pip install" in part]
    assert len(installs) == 5
    free = [part for part in installs if "--constraint requirements.lock" not in part]
    assert [part.split()[-1] for part in free] == ["'pip>=25'", "/wheels/covey-*.whl"]


def test_copies_lie_where_an_engine_puts_them(tmp_path: Path) -> None:
    image, stage = Image(tmp_path, {}, {}), Stage(tmp_path / "root", workdir="/src")
    image._step(stage, "COPY", "deploy/requirements.lock pyproject.toml ./")
    image._step(stage, "COPY", "deploy/jobs /usr/share/jobs")
    image._step(stage, "COPY", "deploy/demo.sh /usr/share/demo.sh")
    root = tmp_path / "root"
    assert {file.name for file in (root / "src").iterdir()} == {
        "requirements.lock",
        "pyproject.toml",
    }
    assert (root / "usr/share/jobs/cartpole-ppo.yaml").is_file()
    assert (root / "usr/share/demo.sh").stat().st_mode == (ROOT / "deploy/demo.sh").stat().st_mode
    with pytest.raises(SystemExit, match="cannot do: HEALTHCHECK"):
        image._step(stage, "HEALTHCHECK", "NONE")

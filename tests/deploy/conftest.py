"""A home and a scheduler for jobs on the `nodes` of a module."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import RayNodes

from covey.platform.client import Client


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("home")
    kept = dict(os.environ)
    os.environ["COVEY_HOME"] = str(path)
    yield path
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def client(home: Path, nodes: RayNodes) -> Iterator[Client]:
    opened = Client(home)
    command = [sys.executable, "-m", "covey.platform.jobs.daemon", "--home", str(home)]
    with (home / "scheduler.log").open("ab") as log:
        scheduler = subprocess.Popen(
            [*command, "--address", nodes.address], stdout=log, stderr=log, cwd=home
        )
    yield opened
    scheduler.terminate()
    scheduler.wait()
    opened.close()

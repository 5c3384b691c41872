import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from s3_server import S3Server

from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.checkpoint import Part
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run

HERE = Path(__file__).parent


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def toy_job(**changes: object) -> JobFile:
    data = {
        "name": "toy",
        "workload": "rl",
        "stop": {"env_steps": 1000},
        "rl": {"algorithm": {"name": "ppo"}, "env": {"id": "CartPole-v1"}},
    }
    return parse_job_file({**data, **changes}, Path("/"))


def toy_parts(step: int, size: int = 1000) -> dict[str, Part]:
    """A checkpoint's parts that tell which step they belong to."""
    return {
        "model.safetensors": {"weights": np.full(size, step, np.float32)},
        "state.json": f'{{"step": {step}}}'.encode(),
    }


@pytest.fixture
def make_job() -> Callable[..., JobFile]:
    return toy_job


@pytest.fixture
def parts() -> Callable[..., dict[str, Part]]:
    return toy_parts


@pytest.fixture
def write_steps() -> Callable[..., None]:
    """Write checkpoints and wait until they are on the disk."""

    def write(run: Run, *steps: int) -> None:
        for step in steps:
            run.checkpoint(step, toy_parts(step))
        run._writer.wait()

    return write


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", toy_job())


@pytest.fixture
def run(folder: RunFolder, clock: Clock) -> Run:
    return Run.claim(folder.path, clock=clock)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_child() -> Iterator[Start]:
    """Start `child.py` beside this file; it is ended with the test."""
    children = []

    def start(*arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, str(HERE / "child.py"), *map(str, arguments)]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def s3(_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A real server, which this process and all it starts take for S3; tests that use it belong
    into the group "s3", to share one.
    """
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The URL of an empty bucket."""
    return s3.make_bucket(f"b-{uuid.uuid4().hex[:12]}")

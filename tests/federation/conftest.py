"""What the tests of federated jobs share: making a run folder from a job, and running it."""

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from covey.platform.driver import run_attempt
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import JobFile
from covey.platform.runs.folder import RunFolder

with warnings.catch_warnings():  # typer, which Flower imports, uses what click has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import_module("flwr.serverapp")

APPS = Path(__file__).parent / "apps"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty COVEY_HOME."""
    monkeypatch.setenv("COVEY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a picture takes longer than these runs, and has tests of its own."""
    monkeypatch.setattr("covey.platform.runs.plots.plot_curves", lambda path: path)


def federated_job(
    app: str, clients: int = 6, rounds: int | None = 3, **rest: Any
) -> dict[str, Any]:
    """A job as plain data; `rest` goes to the top level, `federated=` into the section."""
    section = {"app": app, "clients": clients, **rest.pop("federated", {})}
    if app in ("logistic", "mlp"):
        section.setdefault("data", {"name": "digits"})
    stop = rest.pop("stop", {"rounds": rounds})
    job = {"name": "test", "workload": "federated", "seed": 5, "deterministic": True, "stop": stop}
    return {**job, **rest, "federated": section}


class RunResult:
    """A finished run folder, read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = json.loads((path / "result.json").read_text())
        self.metrics = self._lines("metrics.jsonl")
        self.events = self._lines("events.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.path / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def said(self, kind: str) -> list[str]:
        return [event["message"] for event in self.events if event["kind"] == kind]

    @property
    def model(self) -> bytes:
        return (self.path / "checkpoints" / "latest" / "model.safetensors").read_bytes()


@pytest.fixture
def write_app(tmp_path: Path) -> Callable[[str], str]:
    """Make the folder of a Flower app from one module that has `server` and `client` in it."""

    def write(source: str) -> str:
        package = tmp_path / "small" / "small_app"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package.parent / "pyproject.toml").write_text(
            "[tool.flwr.app.components]\n"
            "serverapp = 'small_app.apps:server'\nclientapp = 'small_app.apps:client'\n"
        )
        (package / "apps.py").write_text(HEAD + source)
        return str(package.parent)

    return write


HEAD = """
import random
from pathlib import Path
import numpy as np
from flwr.app import *
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server, client = ServerApp(), ClientApp()
start = ArrayRecord({"w": Array(np.zeros(1))})
"""


@pytest.fixture
def create(tmp_path: Path) -> Callable[..., Path]:
    """Make a run folder for `federated_job(...)`; app folders are those in `apps`."""
    count = iter(range(1000))

    def make(app: str, **rest: Any) -> Path:
        app = str(APPS / app) if (APPS / app).is_dir() else app
        job = parse_job_file(federated_job(app, **rest), APPS)
        return RunFolder.create(tmp_path / f"run{next(count)}", job).path

    return make


@pytest.fixture
def train(create: Callable[..., Path]) -> Callable[..., RunResult]:
    """Run `federated_job(...)` to its end in this process."""

    def run(app: str, **rest: Any) -> RunResult:
        path = create(app, **rest)
        outcome = run_attempt(path)
        assert outcome.error is None, outcome.error
        return RunResult(path)

    return run


@pytest.fixture
def parse() -> Callable[..., JobFile]:
    """The job that `federated_job(...)` describes, checked; paths are relative to the test apps."""

    def read(app: str = "logistic", **rest: Any) -> JobFile:
        return parse_job_file(federated_job(app, **rest), APPS)

    return read

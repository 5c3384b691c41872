"""What the tests of federated jobs share: making a run folder from a job, and running it."""

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from covey.federation.section import BUILT_IN_APPS
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
    """Drawing pictures takes longer than these runs, and has tests of its own."""
    monkeypatch.setattr("covey.federation.partition_report.draw", lambda table: b"")
    monkeypatch.setattr("covey.platform.runs.plots.draw_pictures", lambda path: [])


def federated_job(
    app: str, clients: int = 6, rounds: int | None = 3, **rest: Any
) -> dict[str, Any]:
    """A job as plain data; `rest` goes to the top level, `federated=` into the section."""
    section = {"app": app, "clients": clients, **rest.pop("federated", {})}
    if app in BUILT_IN_APPS:
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
def write_arrays(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of arrays, `arrays`, that is easily learnt: 120 + 30 images of 8 by 8 pixels
    and 2 channels in 3 classes, from 4 clients of unequal size. Arrays by name replace them; None
    leaves one out.
    """

    def write(**replaced: Any) -> Path:
        folder = tmp_path / "arrays"
        folder.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for part, count in (("train", 120), ("test", 30)):
            labels = np.arange(count) % 3
            images = generator.integers(0, 120, (count, 8, 8, 2), dtype=np.uint8)
            for label in range(3):
                images[labels == label, 2 * label : 2 * label + 3, :, label % 2] += 130
            arrays |= {f"{part}_x": images, f"{part}_y": labels}
        arrays["train_client"] = np.array(["ann"] * 60 + ["bob"] * 30 + ["cy"] * 20 + ["di"] * 10)
        for name, array in {**arrays, **replaced}.items():
            (folder / f"{name}.npy").unlink(missing_ok=True)
            if array is not None:
                np.save(folder / f"{name}.npy", array)
        return folder

    return write


@pytest.fixture
def parse() -> Callable[..., JobFile]:
    """The job that `federated_job(...)` describes, checked; paths are relative to the test apps."""

    def read(app: str = "logistic", **rest: Any) -> JobFile:
        return parse_job_file(federated_job(app, **rest), APPS)

    return read

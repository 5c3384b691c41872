"""The command line in this process: `covey("jobs", "--json")` is what a shell would see of it."""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from covey.platform.cli.app import main


class Answer(NamedTuple):
    """What a command leaves behind."""

    exit_status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on the last line of standard output."""
        return json.loads(self.out.splitlines()[-1])


Covey = Callable[..., Answer]


@pytest.fixture
def covey(
    own_environment: None,
    toy_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Covey]:
    thresholds = gc.get_threshold()

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["covey", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    yield call
    gc.set_threshold(*thresholds)


@pytest.fixture
def job_file(toy_job: dict[str, Any], tmp_path: Path) -> Path:
    """A toy job that takes no time."""
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({**toy_job, "toy": {"step_s": 0}}))
    return path

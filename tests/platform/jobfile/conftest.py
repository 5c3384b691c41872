"""Job files of a third-party workload, which is installed as a real package would be."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from covey.platform.errors import JobFileError
from covey.platform.jobfile import shape
from covey.platform.jobfile.load import load_job_file

SITE = Path(__file__).with_name("site")
ORCHARD = """\
name: apples-1
workload: tree-growing
stop: {rounds: 3}
tree-growing:
  algorithm:
    name: prune
    depth: 2
  weather: {id: rain}
"""


@pytest.fixture(scope="package", autouse=True)
def orchard() -> Iterator[None]:
    """The package `orchard` on the import path, with its entry points."""
    sys.path.insert(0, str(SITE))
    shape.installed_names.cache_clear()
    yield
    sys.path.remove(str(SITE))
    shape.installed_names.cache_clear()
    shape.installed.cache_clear()


@pytest.fixture(scope="session")
def orchard_text() -> str:
    return ORCHARD


@pytest.fixture
def job_file(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Writes a text to the path job.yaml in an empty folder."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "job.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def problems(job_file: Callable[[str | bytes], Path]) -> Callable[..., list[str]]:
    """The lines of the JobFileError that a text (and overrides) must end in, without the folder."""

    def load(text: str | bytes, *overrides: str) -> list[str]:
        path = job_file(text)
        with pytest.raises(JobFileError) as caught:
            load_job_file(path, overrides)
        assert str(caught.value).splitlines() == list(caught.value.problems)
        return [line.replace(f"{path.parent}/", "") for line in caught.value.problems]

    return load

"""The job files in deploy/jobs load, read back equal, fit the schema, and are quick to check."""

from pathlib import Path
from time import perf_counter

import pytest
from jsonschema import Draft202012Validator

from covey.platform.jobfile import schema
from covey.platform.jobfile.document import Document
from covey.platform.jobfile.load import dump_job_file, load_job_file
from covey.platform.jobfile.yaml_text import read_yaml

FILES = sorted((Path(__file__).parents[3] / "deploy" / "jobs").glob("*.yaml"))


def test_there_are_some() -> None:
    assert {path.stem for path in FILES} >= {
        "cartpole-ppo",
        "acrobot-ppo",
        "pendulum-ppo",
        "lunarlander-ppo",
        "digits-fedavg",
        "mnist-fedavg",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_under_its_own_name_and_reads_back_equal(path: Path, tmp_path: Path) -> None:
    job = load_job_file(path)
    assert job.name == path.stem
    copy = tmp_path / "job.yaml"
    copy.write_text(dump_job_file(job))
    assert load_job_file(copy) == job


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_fits_the_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workloads = ["federated", "peer-to-peer", "rl", "rllib"]
    monkeypatch.setattr(schema, "installed_names", lambda: workloads)
    validator = Draft202012Validator(schema.json_schema())
    job = load_job_file(path)
    validator.validate(read_yaml(path.read_text(), (), str, Document("")))
    validator.validate(read_yaml(dump_job_file(job), (), str, Document("")))


def test_fifty_lines_are_checked_in_under_50_ms(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(dump_job_file(load_job_file(FILES[0])))
    assert len(path.read_text().splitlines()) >= 40
    seconds = []
    for _ in range(5):
        begin = perf_counter()
        load_job_file(path)
        seconds.append(perf_counter() - begin)
    assert min(seconds) < 0.05

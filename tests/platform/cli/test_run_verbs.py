"""`covey run` and `covey resume` over the toy workload: results, exit statuses, refusals."""

from pathlib import Path

import pytest
import yaml

from covey.platform.client import Client

from .conftest import Covey


def change(job_file: Path, **keys: object) -> None:
    job_file.write_text(yaml.safe_dump({**yaml.safe_load(job_file.read_text()), **keys}))


def test_a_run_prints_its_result_last(covey: Covey, job_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    answer = covey("run", job_file, "--set", "stop.env_steps=7", "--run-dir", path, "--json")
    assert answer.exit_status == 0
    result = answer.document
    assert (result["state"], result["run_dir"]) == ("succeeded", str(path))
    assert result["metrics"] == {"count": 7.0}
    assert 0 <= result["wall_s"] < result["process_s"]
    assert f"run folder: {path}" in answer.err


def test_a_run_for_people_names_its_folder(covey: Covey, job_file: Path, tmp_path: Path) -> None:
    answer = covey("run", job_file)
    assert answer.exit_status == 0 and "succeeded: env_steps" in answer.out
    (path,) = (tmp_path / "runs").iterdir()
    assert f"run folder: {path}" in answer.out


@pytest.mark.parametrize(
    ("trouble", "exit_status", "state", "error"),
    [
        ("crash", 1, "failed", "RuntimeError: a crash was asked for (the whole story"),
        ("mistake", 2, "failed", "a mistake was asked for"),
        ("exit", 1, "failed", "the job's code called sys.exit(0)"),
        ("stop", 4, "stopped", None),
    ],
)
def test_a_run_that_does_not_succeed_says_so(
    covey: Covey, job_file: Path, trouble: str, exit_status: int, state: str, error: str | None
) -> None:
    change(job_file, toy={"step_s": 0, "trouble": trouble})
    answer = covey("run", job_file, "--json")
    assert answer.exit_status == exit_status
    assert answer.document["state"] == state
    assert (answer.document["error"] or "").startswith(error or "")
    assert "Traceback" not in answer.err


def test_a_folder_that_holds_something_is_refused(
    covey: Covey, job_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("42")
    answer = covey("run", job_file, "--run-dir", tmp_path / "mine")
    assert (answer.exit_status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1 and "mine is not empty" in answer.err


def test_jobs_that_are_not_waited_for_are_named(covey: Covey, job_file: Path) -> None:
    change(job_file, after=["first"])
    answer = covey("run", job_file)
    assert answer.exit_status == 0
    assert "after: first is not waited for here" in answer.err


def test_resume_prints_what_has_succeeded_and_extends_it(
    covey: Covey, job_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    result = covey("run", job_file, "--run-dir", path, "--json").document
    again = covey("resume", path, "--json")
    assert again.exit_status == 0 and again.document == result
    further = covey("resume", path, "--set", "stop.env_steps=12", "--json")
    assert further.exit_status == 0
    assert (further.document["step"], further.document["attempt"]) == (12, 2)
    assert (path / "begun.txt").read_text() == "1 from 0\n2 from 10\n"
    refused = covey("resume", path, "--set", "seed=9")
    assert refused.exit_status == 2 and "--set seed: a run that has begun" in refused.err


def test_resume_goes_on_after_a_crash(covey: Covey, job_file: Path, tmp_path: Path) -> None:
    change(job_file, toy={"step_s": 0, "trouble": "crash"})
    path = tmp_path / "run"
    assert covey("run", job_file, "--run-dir", path).exit_status == 1
    assert covey("resume", path, "--json").document["state"] == "succeeded"
    assert (path / "begun.txt").read_text() == "1 from 0\n2 from 5\n"


def test_resume_takes_no_folder_that_merely_holds_a_job_file(
    covey: Covey, job_file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    job_file.rename(mine / "job.yaml")
    (mine / "thesis.txt").write_text("42")
    answer = covey("resume", mine)
    assert (answer.exit_status, answer.out) == (2, "") and "no run began there" in answer.err
    assert sorted(path.name for path in mine.iterdir()) == ["job.yaml", "thesis.txt"]
    (mine / "thesis.txt").rename(mine / "driver-1.txt")  # its first driver could not even begin
    assert covey("resume", mine).exit_status == 0


def test_a_job_of_the_schedulers_is_its_business(
    covey: Covey, job_file: Path, tmp_path: Path
) -> None:
    with Client() as client:
        job = client.show(client.submit(job_file))
    path = Path(job.run_dir)
    path.mkdir(parents=True)
    job_file.rename(path / "job.yaml")
    answer = covey("resume", job.job_id)
    assert answer.exit_status == 2 and f"job {job.job_id} is queued: end it first" in answer.err


def test_a_run_without_curves_has_no_plot(covey: Covey, job_file: Path, tmp_path: Path) -> None:
    covey("run", job_file, "--run-dir", tmp_path / "run")  # its one metric only counts up
    answer = covey("plot", tmp_path / "run", "--json")
    assert (answer.exit_status, answer.out) == (2, "") and "nothing to draw" in answer.err

"""One attempt in this process: what its end is called, however the job's code ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from covey.platform.driver import main, run_attempt
from covey.platform.exit_status import ExitStatus
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.mark.parametrize(
    ("trouble", "state", "exit_status", "error"),
    [
        ("none", "succeeded", ExitStatus.SUCCEEDED, None),
        ("stop", "stopped", ExitStatus.STOPPED, None),
        ("mistake", "failed", ExitStatus.USER_MISTAKE, "a mistake was asked for"),
        ("exit", "failed", ExitStatus.FAILED, "the job's code called sys.exit(0)"),
        ("crash", "failed", ExitStatus.FAILED, "RuntimeError: a crash was asked for"),
    ],
)
def test_how_an_attempt_ends(
    toy_job: dict[str, Any],
    tmp_path: Path,
    trouble: str,
    state: str,
    exit_status: ExitStatus,
    error: str | None,
) -> None:
    toy_job["toy"] = {"step_s": 0, "trouble": trouble}
    path = RunFolder.create(tmp_path / "run", parse_job_file(toy_job, tmp_path)).path
    end = run_attempt(path)
    assert (end.state, end.exit_status) == (state, exit_status)
    assert (end.error or "").split(" (the whole story")[0] == (error or "")
    result = json.loads((path / "result.json").read_text())
    assert (result["state"], result["error"]) == (state, end.error)


def test_a_job_file_begins_a_run_and_goes_on_with_no_other(
    toy_job: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a manifest's entry point calls it: again and again, whenever a pod was lost."""
    file, path = tmp_path / "job.yaml", tmp_path / "runs" / "toy"
    file.write_text(json.dumps(toy_job | {"toy": {"step_s": 0}}))
    monkeypatch.setattr("sys.argv", ["driver", str(path), "--job", str(file)])
    for attempt in (1, 2):
        assert main() == ExitStatus.SUCCEEDED
        assert json.loads((path / "attempt.json").read_text())["attempt"] == attempt
    assert RunFolder.open(path).newest_checkpoint().step == 10
    file.write_text(json.dumps(toy_job | {"seed": 8}))
    assert main() == ExitStatus.USER_MISTAKE
    assert f"{path} is the run of another job" in capsys.readouterr().err

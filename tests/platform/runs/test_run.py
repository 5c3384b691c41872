import json
import math
from pathlib import Path

import numpy as np
import pytest

from covey.platform.errors import UserError
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.metrics import read_metrics
from covey.platform.runs.run import STOP_REQUESTED, Run


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_a_whole_folder(folder: RunFolder, clock, parts) -> None:
    heard = []
    run = Run.claim(
        folder.path, on_report=lambda step, values: heard.append((step, dict(values))), clock=clock
    )
    assert run.restore() is None
    run.started()
    for step in (400, 800, 1200):
        clock.now += 2
        run.report(step, {"episode_return_mean": step / 10, "updates": step // 400})
        if run.stop_reason(step, {}) is None:
            run.checkpoint(step, parts(step))
    run.checkpoint(1200, parts(1200))
    run.finish("succeeded", {"episode_return_mean": 120.0})

    assert heard[0] == (400, {"episode_return_mean": 40.0, "updates": 1})
    assert lines(folder.metrics)[1] == {
        "step": 800,
        "wall_s": 4.0,
        "episode_return_mean": 80.0,
        "updates": 2,
    }
    result = json.loads(folder.result.read_text())
    assert result.pop("process_s") > 0
    assert result == {
        "state": "succeeded",
        "reason": "env_steps 1000 reached",
        "error": None,
        "run_dir": str(folder.path),
        "step": 1200,
        "metrics": {"episode_return_mean": 120.0},
        "wall_s": 6.0,
        "attempt": 1,
    }
    assert folder.curves.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [
        "000000000800",
        "000000001200",
        "latest",
    ]
    assert json.loads(folder.newest_checkpoint().read("state.json")) == {"step": 1200}
    assert {e["kind"] for e in lines(folder.events)} == {"attempt", "checkpoint", "finished"}


def test_a_resumed_run_goes_on_where_the_checkpoint_was(folder: RunFolder, clock, parts) -> None:
    run = Run.claim(folder.path, clock=clock)
    run.started()
    for step in (100, 200, 300):
        clock.now += 10
        run.report(step, {"loss": 1.0})
        if step == 200:
            run.checkpoint(200, parts(200))
    run._writer.wait()

    again = Run.claim(folder.path, clock=clock)
    checkpoint = again.restore()
    assert checkpoint.step == 200
    assert checkpoint.wall_s == 20
    assert [line["step"] for line in lines(folder.metrics)] == [100, 200]
    clock.now += 1000  # setting up is no training
    again.started()
    clock.now += 5
    again.report(300, {"loss": 0.5})
    assert lines(folder.metrics)[-1] == {"step": 300, "wall_s": 25.0, "loss": 0.5}


def test_a_resumed_runs_old_result_is_taken_away(folder: RunFolder, run: Run) -> None:
    run.finish("stopped", {})
    assert folder.result.exists()
    Run.claim(folder.path)
    assert not folder.result.exists()


def test_lines_cut_short_do_no_harm(folder: RunFolder, run: Run) -> None:
    run.report(1, {"loss": 1.0})
    run.report(2, {"loss": 1.0})
    events = len(lines(folder.events))
    for path in (folder.metrics, folder.events, folder.log):
        with path.open("ab") as file:
            file.write(b'{"step": 3, "lo')
    assert [line["step"] for line in read_metrics(folder.metrics)] == [1, 2]
    again = Run.claim(folder.path)
    again.report(3, {"loss": 1.0})
    assert [line["step"] for line in lines(folder.metrics)] == [1, 2, 3]
    assert len(lines(folder.events)) > events
    assert '{"step"' not in folder.log.read_text()


def test_what_is_not_finite_is_left_out_and_said_once(folder: RunFolder, run: Run) -> None:
    for step in (1, 2):
        run.report(step, {"loss": math.nan, "kl": math.inf, "entropy": np.float32(0.5)})
    assert [set(line) for line in lines(folder.metrics)] == [{"step", "wall_s", "entropy"}] * 2
    said = [e["message"] for e in lines(folder.events) if e["kind"] == "not-finite"]
    assert sorted(str(text).split()[0] for text in said) == ["kl", "loss"]
    run.finish("succeeded", {"loss": math.nan, "entropy": 0.5})
    assert json.loads(folder.result.read_text())["metrics"] == {"entropy": 0.5}


def test_events_take_any_field(folder: RunFolder, run: Run) -> None:
    run.event("note", "odd", where=Path("/x"), value=math.nan, nested={"a": [math.inf]})
    event = lines(folder.events)[-1]
    assert event["where"] == "/x"
    assert event["value"] == "NaN"
    assert event["nested"] == {"a": ["Infinity"]}
    assert (event["kind"], event["attempt"]) == ("note", 1)


def test_a_stop_request_is_a_reason_once_nothing_else_is(run: Run) -> None:
    assert run.stop_reason(10, {}) is None
    run.request_stop()
    assert run.stop_requested
    assert run.stop_reason(10, {}) == STOP_REQUESTED == run.reason
    assert run.stop_reason(1000, {}) == "env_steps 1000 reached"


def test_checkpoints_by_the_clock(run: Run, clock, parts) -> None:
    run.started()
    assert not run.checkpoint_due(5)
    clock.now += 61  # the default is a minute
    assert run.checkpoint_due(5)
    run.checkpoint(5, parts(5))
    clock.now += 61
    assert not run.checkpoint_due(5)
    assert run.checkpoint_due(6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"../x.json": b""},
        {"manifest.json": b""},
        {"model.safetensors": b""},
        {"model.bin": {"a": np.zeros(1)}},
        {"model.safetensors": {"a": np.array([object()])}},
    ],
)
def test_parts_that_cannot_be_kept_are_refused_at_once(run: Run, wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"cannot be|arrays go"):
        run.checkpoint(1, wrong)


def test_a_failed_run_says_why(folder: RunFolder, run: Run) -> None:
    run.report(10, {"loss": 2.0})
    run.finish("failed", {}, error="ValueError: no")
    result = json.loads(folder.result.read_text())
    assert (result["state"], result["error"], result["metrics"]) == (
        "failed",
        "ValueError: no",
        {"loss": 2.0},
    )


def test_a_folder_in_use_is_refused(tmp_path: Path, make_job) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        RunFolder.create(tmp_path, make_job())
    with pytest.raises(UserError, match="is a file"):
        RunFolder.create(tmp_path / "file", make_job())
    with pytest.raises(UserError, match=r"no job\.yaml"):
        RunFolder.open(tmp_path)
    with pytest.raises(UserError, match=r"no job\.yaml"):
        Run.claim(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_create_can_be_repeated(tmp_path: Path, make_job) -> None:
    (tmp_path / ".job.yaml.123.partial").write_text("na")
    job = make_job()
    assert RunFolder.create(tmp_path, job).job() == job

"""`covey submit`, `jobs`, `show`, `logs`, `stop` over a store without a scheduler."""

import time
from pathlib import Path

from covey.platform.client import Client
from covey.platform.jobs.background import store_path
from covey.platform.jobs.sqlite_store import SqliteStore
from covey.platform.jobs.states import Admitted, Refused, Started, apply

from .conftest import Covey


def submit(covey: Covey, job_file: Path) -> str:
    answer = covey("submit", job_file, "--no-scheduler", "--json")
    assert answer.exit_status == 0 and list(answer.document) == ["job_id"]
    return str(answer.document["job_id"])


def test_a_job_is_submitted_listed_shown_and_stopped(covey: Covey, job_file: Path) -> None:
    job_id = submit(covey, job_file)
    (row,) = covey("jobs", "--json").document
    assert row.pop("submitted_s") <= time.time()
    assert row == {
        "job_id": job_id,
        "name": "toy",
        "state": "queued",
        "attempts": 0,
        "reason": "submitted",
        "priority": 0,
    }
    assert job_id in covey("jobs").out
    stopped = covey("stop", job_id, "--json")
    assert (stopped.exit_status, stopped.document["state"]) == (0, "stopped")
    assert stopped.err == ""
    shown = covey("show", "toy", "--json").document
    assert (shown["state"], shown["attempts"], shown["attempt_list"]) == ("stopped", 0, [])
    assert [event["state"] for event in shown["events"]] == ["queued", "stopped"]
    assert "stop requested" in covey("show", job_id).out
    again = covey("stop", job_id)
    assert (again.exit_status, again.out) == (2, "")
    assert again.err == f"covey: job {job_id} has already ended: it is stopped\n"


def test_submit_for_people_prints_the_id_alone(covey: Covey, job_file: Path) -> None:
    answer = covey("submit", job_file, "--no-scheduler")
    assert answer.exit_status == 0
    assert answer.err == f"watch it: covey logs -f {answer.out}"


def test_a_wrong_job_file_leaves_no_job(covey: Covey, job_file: Path) -> None:
    answer = covey("submit", job_file, "--set", "priority=high", "--no-scheduler")
    assert answer.exit_status == 2 and "priority" in answer.err
    assert covey("jobs", "--json").document == []


def test_an_address_without_a_scheduler_is_refused(covey: Covey, job_file: Path) -> None:
    answer = covey("submit", job_file, "--no-scheduler", "--address", "http://127.0.0.1:8265")
    assert (answer.exit_status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1 and "--no-scheduler" in answer.err
    assert covey("jobs", "--json").document == []


def test_a_reason_with_brackets_is_shown(covey: Covey, job_file: Path, tmp_path: Path) -> None:
    job_id = submit(covey, job_file)
    store = SqliteStore(store_path(tmp_path))
    job = store.get(job_id)
    why = "KeyError: [/red] in array([1, 2])"
    store.replace(job, apply(job, Refused(1, why))[0])
    store.close()
    for verb in (["show", job_id], ["jobs"]):
        answer = covey(*verb)
        assert answer.exit_status == 0 and "[/red]" in answer.out


def test_logs_are_printed(covey: Covey, job_file: Path) -> None:
    job_id = submit(covey, job_file)
    with Client() as client:
        log = Path(client.show(job_id).run_dir) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\n")
    assert covey("logs", job_id) == (0, "one\ntwo\n", "")


def test_a_job_left_running_is_stopped_all_the_same(
    covey: Covey, job_file: Path, tmp_path: Path
) -> None:
    """Its scheduler is dead, and so is its Ray head: somebody must find that out."""
    job_id = submit(covey, job_file)
    store = SqliteStore(store_path(tmp_path))
    for signal in (Admitted(1, "head-1"), Started(2)):
        job = store.get(job_id)
        store.replace(job, apply(job, signal)[0])
    store.close()
    answer = covey("stop", job_id)
    assert answer.exit_status == 0 and answer.out == f"{job_id}: stopping\n"
    assert "no scheduler was at work: one is started" in answer.err
    assert covey("scheduler", "--alive").out.endswith("is at work\n")
    try:
        with Client() as client:
            assert client.wait(job_id, timeout_s=480).state == "stopped"
    finally:
        assert covey("scheduler", "--stop").out == "the scheduler has ended\n"
    assert covey("scheduler", "--stop").out == "no scheduler is at work\n"
    assert covey("scheduler", "--alive") == (1, "no scheduler is at work\n", "")

"""The study through the scheduler: failures in memory, kills for real."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from covey.federation.study.command import app
from covey.federation.study.folder import study_folder
from covey.federation.study.parts import PARTS, narrowed
from covey.federation.study.plan import Plan
from covey.federation.study.trials import Trials
from covey.platform.client import Client
from covey.platform.errors import UserError
from covey.platform.jobs.background import stop_scheduler, store_path
from covey.platform.jobs.job import State
from covey.platform.jobs.ray_head import RayHead
from covey.platform.jobs.sqlite_store import SqliteStore

PLAN = Plan(narrowed(PARTS["table"], ["fedavg"], ["digits"], [0.1], 2), 2, "mlp", 0)
(SETTING,) = PLAN.part.settings
TRIALS = list(PLAN.tuning(SETTING))
LIMIT_S = 480.0
"""Only ends a test that has failed: a busy machine takes minutes to start Ray."""


class Scheduled:
    """A client whose jobs end at once, as `fate` (by the job's learning rate) says."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = {}
        self.fate = {}
        self.submitted, self.resumed = [], []

    def submit(self, job):
        job_id = f"{job['name']}-x"
        self.submitted.append(job_id)
        self._end(job_id, job["name"], job["federated"]["local"]["learning_rate"])
        return job_id

    def _end(self, job_id, name, rate):
        run_dir = self.folder / job_id
        run_dir.mkdir(exist_ok=True)
        (run_dir / "metrics.jsonl").write_text(
            json.dumps({"step": 1, "accuracy": rate, "accuracy_seen_labels": rate}) + "\n"
        )
        (run_dir / "result.json").write_text(
            json.dumps({"state": "succeeded", "wall_s": 1.0, "process_s": 2.0})
        )
        state = self.fate.get(rate, State.SUCCEEDED)
        self.rows[job_id] = SimpleNamespace(
            job_id=job_id, name=name, state=state, reason="no luck", run_dir=str(run_dir), rate=rate
        )

    def resume(self, job_id):
        self.resumed.append(job_id)
        self._end(job_id, self.rows[job_id].name, self.rows[job_id].rate)

    def show(self, job_id):
        return self.rows[job_id]

    def jobs(self):
        return list(self.rows.values())

    def start_scheduler(self):
        return True


def finish(client, out):
    """Runs the trials; returns their accuracies, and which were news."""
    told = []
    with study_folder(out) as folder:
        trials = Trials(PLAN, client, folder, lambda trial, record, new: told.append(new))
        found = trials.finish(TRIALS)
    return [found[trial].score("accuracy") for trial in TRIALS], told


def test_what_has_been_run_is_not_run_again(tmp_path):
    client = Scheduled(tmp_path)
    assert finish(client, tmp_path / "out") == ([0.01, 0.03, 0.1], [True] * 3)
    assert len(client.submitted) == 3
    assert finish(client, tmp_path / "out") == ([0.01, 0.03, 0.1], [False] * 3)
    kept = list((tmp_path / "out" / "runs").iterdir())
    kept[0].unlink()  # as if killed before it was kept: the store knows it
    assert finish(client, tmp_path / "out")[1] == [False, False, True]
    assert len(client.submitted) == 3
    finish(client, tmp_path / "new")
    assert len(client.submitted) == 6


def test_a_failed_job_ends_the_study_and_is_resumed_by_the_next_command(tmp_path):
    client = Scheduled(tmp_path)
    client.fate[0.03] = State.FAILED
    line = r"fedavg, digits, alpha 0.1, rate 0.03, tuning: job (fedavg-digits-\S+) failed: no luck"
    for times in range(2):
        with pytest.raises(UserError, match=rf"{line} \(its log: .*/log.txt\)"):
            finish(client, tmp_path / "out")
        assert len(client.resumed) == times
    client.fate.clear()
    assert finish(client, tmp_path / "out")[0] == [0.01, 0.03, 0.1]
    assert len(client.submitted) == 3 and len(client.resumed) == 2


def test_two_studies_do_not_share_a_folder(tmp_path):
    with study_folder(tmp_path), pytest.raises(UserError, match="another study is at work there"):
        with study_folder(tmp_path):
            pass


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--part tabel", "--part tabel: allowed are table, head, .*; nearest is table"),
        ("--method fedgan", "--method fedgan: .* nearest is fedgen"),
        ("--method fedavg --app mpl", "federated.app: found 'mpl'.* nearest is mlp"),
        ("--method fedavg --data mnits", "federated.data.name: found 'mnits'.* nearest is mnist"),
        ("--method fedavg --data mnist", "fetch it with: covey data get mnist"),
    ],
)
def test_a_mistake_is_told_before_anything_is_run(words, line, tmp_path):
    given = ["--app", "mlp", "--public", "0", "--out", str(tmp_path / "out"), *words.split()]
    with pytest.raises(UserError, match=line):
        CliRunner().invoke(app, ["fedgen", *given], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_study_says_that_the_same_command_goes_on(tmp_path, monkeypatch):
    def interrupted(plan, trials):
        raise KeyboardInterrupt

    monkeypatch.setattr("covey.federation.study.cells.compare", interrupted)
    words = "fedgen --method fedavg --app mlp --data digits --public 0 --out".split()
    result = CliRunner().invoke(app, [*words, str(tmp_path / "out")])
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def start(out):
    """Two methods and two seeds: six jobs that try rates, and four that count."""
    code = "from covey.federation.study.command import app; app()"
    words = "fedgen --method fedavg --method fedgen --data digits --alpha 0.1 --seeds 2 --rounds 2"
    given = [*words.split(), *"--app mlp --public 0 --json --out".split(), str(out)]
    return subprocess.Popen([sys.executable, "-c", code, *given], stdout=subprocess.PIPE)


def until(condition):
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_that_is_killed_with_its_scheduler_goes_on(home: Path, tmp_path: Path):
    out = tmp_path / "out"
    try:
        study = start(out)
        until(lambda: len(list(out.glob("runs/*.json"))) >= 2)
        study.kill()
        study.communicate()
        store = SqliteStore(store_path(home))
        lease = store.lease()
        store.close()
        assert lease is not None
        os.kill(lease.holder.pid, signal.SIGKILL)
        done = {file.name: file.read_bytes() for file in out.glob("runs/*.json")}
        with Client(home) as client:
            before = len(client.jobs())
        assert len(done) <= before < 10

        told, _ = start(out).communicate(timeout=LIMIT_S)
        report = json.loads(told.splitlines()[-1])
        with Client(home) as client:
            jobs = [client.show(row.job_id) for row in client.jobs()]
        assert len(jobs) == len({job.name for job in jobs}) == 10
        assert {(job.state, job.num_attempts) for job in jobs} == {(State.SUCCEEDED, 1)}
        assert done.items() <= {f.name: f.read_bytes() for f in out.glob("runs/*.json")}.items()

        averaged, generated = report["cells"]
        assert (averaged["method"], generated["method"]) == ("fedavg", "fedgen")
        ran = {run["job"] for cell in report["cells"] for run in cell["runs"]}
        assert len(ran) == 4 and ran <= {job.job_id for job in jobs}
        accuracies = averaged["accuracy"]["seeds"] + generated["accuracy"]["seeds"]
        assert len(accuracies) == 4 and all(0.05 < value <= 1 for value in accuracies)
        assert generated["accuracy"]["difference"]["low"] is not None
        assert {file.name for file in out.iterdir()} >= {
            "table.md",
            "table.json",
            "table-accuracy-by-round.png",
            "table-accuracy_seen_labels-by-traffic.png",
            "table-differences.png",
        }
        table = (out / "table.md").read_text()
        told_again, _ = start(out).communicate(timeout=LIMIT_S)
        assert told_again == told and (out / "table.md").read_text() == table
    finally:
        stop_scheduler(home)
        RayHead(home, lambda text: None).stop()

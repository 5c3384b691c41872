"""Jobs whose updates coded workers compute, in threads of this process: they wait, are stopped
then, go on, and choose their code.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from thread_crew import ThreadCrew

from covey.algorithms import attempt, saved
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.workload import WORKLOAD
from covey.platform.coding import waiting
from covey.platform.coding.stragglers import Injection
from covey.platform.jobfile.load import parse_job_file
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import STOP_REQUESTED, Run

MADDPG = {
    "algorithm": {
        **{"name": "maddpg", "hidden": [8], "batch_size": 16, "buffer_size": 2000},
        **{"learning_starts": 30, "updates_per_step": 0.2},
    },
    "env": {"id": "simple_spread", "agents": 3},
    "sampling": {"samplers": 1, "envs_per_sampler": 2},
    "coded": {"code": "replication", "workers": 6},
}
PPO = {
    "algorithm": {
        **{"name": "ppo", "rollout_steps": 16, "minibatch_size": 16, "epochs": 2, "hidden": [8]},
        "threads": 1,
    },
    "env": {"id": "CartPole-v1"},
    "sampling": {"samplers": 1, "envs_per_sampler": 2},
    "learners": {"count": 3},
    "coded": {"code": "replication", "workers": 6},
}
STUCK_AT = 6
"""Before so many updates of PPO's first two rollouts (four gradient steps each) are done."""


@pytest.fixture(autouse=True)
def in_threads(monkeypatch):
    """Workers are threads, and none is late because the machine is busy."""
    monkeypatch.setattr(attempt, "make_crew", lambda job: ThreadCrew())
    monkeypatch.setattr(waiting, "TELL_AFTER_S", 3600.0)


def late_from(monkeypatch, first):
    """From that iteration on all workers are late, an hour; this is soon said."""
    draw = Injection.draw

    def later(injection, iteration, workers):
        if iteration < first:
            return draw(injection, iteration, workers)
        monkeypatch.setattr(waiting, "TELL_AFTER_S", 0.5)
        return [3600.0] * workers

    monkeypatch.setattr(Injection, "draw", later)


@pytest.fixture
def stuck(monkeypatch):
    late_from(monkeypatch, STUCK_AT)


def begin(path, section, stop, clock=time.monotonic, **more):
    job = {"name": "test", "workload": "rl", "seed": 3, "stop": stop, "rl": section, **more}
    RunFolder.create(path, parse_job_file(job, Path.cwd()))
    return Run.claim(path, clock=clock)


def go_on(run):
    metrics = WORKLOAD.run(run)
    run.finish("stopped" if run.reason == STOP_REQUESTED else "succeeded", metrics)
    return metrics


def events(path):
    return [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]


def when_it_waits(run, monkeypatch, act):
    """Act as soon as the event has come."""
    event = run.event

    def hear(kind, message, **fields):
        event(kind, message, **fields)
        if kind == "waiting":
            act()

    monkeypatch.setattr(run, "event", hear)


def stopped_when_waiting(run, monkeypatch):
    """Seconds from the request, which follows the event at once, to the end of training."""
    told = []
    when_it_waits(run, monkeypatch, lambda: (told.append(time.monotonic()), run.request_stop()))
    go_on(run)
    return time.monotonic() - told[0]


@pytest.mark.parametrize(("section", "done"), [(MADDPG, STUCK_AT), (PPO, 4)], ids=["maddpg", "ppo"])
def test_a_job_that_waits_says_so_and_ends_when_asked_with_its_last_update(
    tmp_path, monkeypatch, stuck, section, done
):
    run = begin(tmp_path / "run", section, {"env_steps": 10**6})
    took_s = stopped_when_waiting(run, monkeypatch)
    assert took_s < 300  # seconds on a quiet machine
    (told,) = [one["message"] for one in events(run.path) if one["kind"] == "waiting"]
    assert told.startswith("for some of coded workers 0, 1, 2, 3, 4, 5: later than 0.5 s")
    result = json.loads((run.path / "result.json").read_text())
    assert result["state"] == "stopped"
    state = saved.read(Run.claim(run.path).restore())
    assert state.progress["updates"] == done
    assert state.progress["env_steps"] == result["step"] == result["metrics"]["env_steps"] > 0


def test_a_job_that_waits_ends_when_its_time_is_over(tmp_path, monkeypatch, stuck):
    ahead_s = []
    run = begin(
        tmp_path / "run",
        MADDPG,
        {"wall_s": 3600},
        clock=lambda: time.monotonic() + sum(ahead_s),
    )
    when_it_waits(run, monkeypatch, lambda: ahead_s.append(3600.0))
    go_on(run)
    kinds = [one["kind"] for one in events(run.path)]
    assert kinds.index("waiting") < kinds.index("stop") and run.reason == "wall_s 3600 reached"
    assert saved.read(Run.claim(run.path).restore()).progress["updates"] == STUCK_AT


def final(path):
    folder = path / "checkpoints" / "latest"
    return {
        f"{part.name} {name}": array
        for part in folder.glob("*.safetensors")
        for name, array in load_file(part).items()
    }


@pytest.mark.parametrize("section", [MADDPG, PPO], ids=["maddpg", "ppo"])
def test_a_job_that_repeats_goes_on_from_the_checkpoint_before(tmp_path, monkeypatch, section):
    """And it equals one that nobody has stopped, as far as rounding lets it: here all share the
    threads of one process.
    """
    monkeypatch.setattr(MADDPGConfig, "report_steps", 1)
    steps = {"env_steps": 600}
    settings = {"deterministic": True, "checkpoint": {"every_env_steps": 96, "keep": 3}}
    go_on(begin(tmp_path / "whole", section, steps, **settings))
    with monkeypatch.context() as patch:
        late_from(patch, 30)
        run = begin(tmp_path / "run", section, steps, **settings)
        stopped_when_waiting(run, patch)
    assert "no-checkpoint" in [one["kind"] for one in events(run.path)]
    again = Run.claim(run.path)
    go_on(again)
    assert "restored" in [one["kind"] for one in events(run.path)]
    ours, theirs = final(run.path), final(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=1e-3, err_msg=name)


def test_an_update_that_is_given_up_leaves_nothing_behind(tmp_path, monkeypatch, stuck):
    """The weights of a PPO update of which two gradient steps were done, and of the one before."""
    run = begin(tmp_path / "run", PPO, {"env_steps": 10**6})
    stopped_when_waiting(run, monkeypatch)
    whole = begin(tmp_path / "whole", PPO, {"env_steps": 32})
    with monkeypatch.context() as patch:
        patch.setattr(Injection, "draw", lambda own, k, workers: [0.0] * workers)
        go_on(whole)
    ours, theirs = (saved.read(Run.claim(one.path).restore()).learner for one in (run, whole))
    for part in ("model", "optimizer", "normalizer"):
        for name, array in getattr(theirs, part).items():
            np.testing.assert_array_equal(getattr(ours, part)[name], array)
    assert ours.record == theirs.record


def test_a_job_may_leave_the_choice_of_its_code_to_us(tmp_path):
    section = MADDPG | {"coded": {"code": "auto", "tolerate": 1, "workers": 6}}
    run = begin(tmp_path / "run", section, {"env_steps": 900})
    metrics = go_on(run)
    assert metrics["updates"] > 30
    first, *_ = [one["message"] for one in events(run.path) if one["kind"] == "code"]
    assert "from now on; an iteration takes: mds of 6" in first

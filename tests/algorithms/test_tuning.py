"""A job that changes its samplers and environments while it runs, with workers in threads; Ray's
do so in `test_faults.py`.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from thread_crew import ThreadCrew

from covey.algorithms import attempt, learner_seat, saved, tuning
from covey.algorithms.orders import Slice
from covey.algorithms.parts import env_source, probe_spaces
from covey.algorithms.section import Tuning
from covey.algorithms.team import Team
from covey.algorithms.tuner import Setting
from covey.platform.errors import UserError
from covey.platform.jobfile.load import dump_job_file, parse_job_file
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run

PPO = {"name": "ppo", "rollout_steps": 8, "minibatch_size": 16, "epochs": 1, "hidden": [8]}
IMPALA = {"name": "impala", "rollout_steps": 8, "hidden": [8]}
SAC = {
    **{"name": "sac", "batch_size": 16, "hidden": [8], "block_steps": 4, "buffer_size": 100_000},
    **{"updates_per_step": 0.1, "prioritized": True},
}
APEX = {
    **{"name": "apex", "batch_size": 16, "hidden": [8], "block_steps": 4, "buffer_size": 100_000},
    **{"updates_per_step": 0.1, "learning_starts": 32, "replay": {"shards": 1}},
}
BOTH = pytest.mark.parametrize(
    ("algorithm", "env"), [(PPO, "CartPole-v1"), (SAC, "Pendulum-v1")], ids=["ppo", "sac"]
)


def job_of(algorithm, env, env_steps=10_000, cpus=2, deterministic=False, **sampling):
    document = {
        "name": "test",
        "workload": "rl",
        "resources": {"cpus": cpus},
        "deterministic": deterministic,
        "stop": {"env_steps": env_steps},
        "rl": {
            "algorithm": algorithm,
            "env": {"id": env},
            "sampling": sampling,
            "viewer": {"every_s": None},
        },
    }
    return parse_job_file(document, Path.cwd())


@pytest.fixture
def begin():
    """Starts teams; closes them."""
    teams = []

    def begin(algorithm, env, state=None, lives=0, samplers=1):
        job = job_of(algorithm, env, samplers=samplers, envs_per_sampler=2)
        asked = Setting(1, 2)
        made = Team(
            ThreadCrew(), job, probe_spaces(env_source(job)), lambda *_: None, lives, asked=asked
        )
        teams.append(made)
        made.start(state)
        return made

    yield begin
    for made in teams:
        made.crew.close()
        for stream in made.samplers.streams:
            stream.stop = True
        time.sleep(0.05)
        made.close()


def learn(made, env_steps):
    """Until so many more steps and one more update are learnt from; the last report. Steps may run
    ahead of updates: what is drawn from a replay's shards comes when it comes.
    """
    report, progress = None, made._learner.progress
    began, updates = progress["env_steps"], progress["updates"]
    while progress["env_steps"] < began + env_steps or progress["updates"] <= updates:
        report = made.learn(Slice(seconds=0.02)) or report
        progress = made._learner.progress
    return report


def reform(made, samplers, environments):
    setting = Setting(samplers, environments)
    while not made.samplers.prepare(samplers):
        time.sleep(0.01)
    made.reform(setting)
    assert made.setting == setting


def rows_of(state):
    """Transitions that a checkpoint holds."""
    return sum(int(part.rows.valid.sum()) for part in [*state.rows, *state.archives])


@pytest.mark.parametrize(
    ("algorithm", "env"),
    [
        (PPO, "CartPole-v1"),
        (SAC, "Pendulum-v1"),
        (IMPALA, "CartPole-v1"),
        (APEX, "CartPole-v1"),
    ],
    ids=["ppo", "sac", "impala", "apex"],
)
def test_a_running_team_is_re_formed_and_goes_on_with_all_it_has(begin, algorithm, env):
    made = begin(algorithm, env)
    learn(made, 100)
    kept = made.crew.newest("sampler 0")
    steps, updates = 0, 0
    for setting in ((3, 2), (3, 4), (1, 4), (2, 1)):
        reform(made, *setting)
        report = learn(made, 100)
        assert report.progress["env_steps"] > steps and report.progress["updates"] > updates
        assert report.meters["sampling_hz"] > 0 and made.counts()["samplers"] == setting[0]
        assert {len(s.rows.rewards[0]) for s in made.samplers.streams} == {setting[1]}
        steps, updates = report.progress["env_steps"], report.progress["updates"]
    assert len(made.crew.workers["sampler 0"]) == 1 and not kept.lost
    assert report.progress["episodes"] > 0 or env == "Pendulum-v1"
    state = made.pause()
    assert len(state.samplers) == 2
    if algorithm in (SAC, APEX):
        assert rows_of(state) == state.progress["env_steps"]
    made.go_on()
    learn(made, 50)


@BOTH
@pytest.mark.parametrize("call", ["remake", "connect", "run"])
def test_samplers_that_die_while_a_team_is_re_formed_are_replaced(begin, algorithm, env, call):
    made = begin(algorithm, env)
    learn(made, 50)
    made.crew.newest("sampler 0").loses = call
    reform(made, 2, 2)
    while not made.counts()["replaced_workers"]:
        learn(made, 1)
    assert learn(made, 100).metrics["env_steps"] >= 150
    assert made.counts()["replaced_workers"] == 1
    made.crew.newest("sampler 1").lose()
    learn(made, 100)
    assert len(made.pause().samplers) == 2


@BOTH
@pytest.mark.parametrize("call", ["connect", "state"])
def test_a_learner_that_dies_while_or_after_a_team_is_re_formed_is_replaced(
    begin, algorithm, env, call
):
    made = begin(algorithm, env)
    learn(made, 100)
    made.crew.newest("learner").loses = call
    reform(made, 2, 2)
    learn(made, 50)
    made.crew.newest("learner").lose()
    report = learn(made, 50)
    assert report.progress["updates"] > 0
    reform(made, 1, 4)
    learn(made, 50)
    state = made.pause()
    if algorithm is SAC:  # the counts of a lost learner's last moments are lost with it
        assert rows_of(state) >= state.progress["env_steps"] >= 250
    after = begin(algorithm, env, state, lives=1)
    assert learn(after, 50).metrics["env_steps"] >= state.progress["env_steps"] + 50


@pytest.mark.parametrize(
    ("algorithm", "env"),
    [
        (SAC, "Pendulum-v1"),
        (SAC | {"name": "dqn"}, "CartPole-v1"),
        ({**SAC, "name": "maddpg", "prioritized": False, "learning_starts": 8}, "simple_spread"),
    ],
    ids=["sac", "dqn", "maddpg"],
)
def test_a_learner_goes_on_with_larger_minibatches(begin, algorithm, env):
    made = begin(algorithm, env)
    learn(made, 200)
    before = made.pause()
    made.go_on()
    made.rebatch(32)
    updates = before.progress["updates"]
    while (report := learn(made, 20)).progress["updates"] < updates + 5:
        pass
    assert report.meters["update_frame_hz"] > 0 and made.batch_size == 32
    reform(made, 2, 1)
    made.crew.newest("learner").lose()
    learn(made, 50)
    state = made.pause()
    assert state.learner.record["updates"] > updates
    assert made.crew.newest("learner").target._section.algorithm.batch_size == 32
    made.go_on()


def test_extra_samplers_that_always_die_are_done_without(begin):
    made = begin(SAC, "Pendulum-v1")
    made.crew.loses = {"sampler": ["ready"] * 9}
    with pytest.raises(Exception, match="sampler 1 died"):
        while not made.samplers.prepare(2):
            time.sleep(0.01)
    learn(made, 50)


@pytest.fixture
def hasty(monkeypatch):
    """Everything that waits for the clock does so for an instant; workers are threads."""
    monkeypatch.setattr(tuning, "FIRST_S", 0.0)
    monkeypatch.setattr(tuning, "FIRST_OTHERS_S", 0.0)
    monkeypatch.setattr(learner_seat, "LOOK_S", 0.01)
    monkeypatch.setattr("covey.algorithms.training.SLICE_S", 0.02)
    monkeypatch.setattr(attempt, "make_crew", lambda job: ThreadCrew())
    monkeypatch.setattr(attempt, "starts_early", lambda run: False)


def train(path, until):
    """An attempt that is asked to stop once `until(events)`; its metrics."""

    def look(step, metrics):
        if until(told(path)):
            run.request_stop()

    run = Run.claim(path, on_report=look)
    metrics = attempt.train(run)
    run.finish("succeeded", metrics)
    return metrics


def told(path, kind="tuning"):
    lines = map(json.loads, (path / "events.jsonl").read_text().splitlines())
    return [line["message"] for line in lines if line["kind"] == kind]


@BOTH
def test_a_job_tunes_itself_and_a_resumed_one_goes_on_with_what_it_found(
    tmp_path, hasty, algorithm, env
):
    limits = {"samplers": 2, "envs_per_sampler": 4, "measure_s": 0.1}
    job = job_of(algorithm, env, 10**7, samplers=1, envs_per_sampler=2, tuning=limits)
    RunFolder.create(tmp_path, job)
    metrics = train(tmp_path, lambda events: any("settled" in event for event in events))
    events = told(tmp_path)
    assert events[0].startswith("1 x 2 (samplers x environments each): ")
    assert len(events) >= (2 if algorithm is PPO else 3)
    state = saved.read(RunFolder.open(tmp_path).newest_checkpoint())
    assert state.asked == Setting(1, 2)
    assert {"samplers", "envs_per_sampler"} <= set(metrics)
    lines = list(map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()))
    for name in ("step", "updates", "episodes"):
        values = [line[name] for line in lines]
        assert values == sorted(values)
    assert len({(line["samplers"], line["envs_per_sampler"]) for line in lines}) > 1

    assert attempt.as_found(job, state).section.sampling.samplers == state.setting.samplers
    found = state.setting
    told_before = len(events)
    train(tmp_path, lambda events: len(events) > told_before)
    assert told(tmp_path)[told_before].startswith(f"{found} (samplers")


def test_a_batch_is_doubled_while_that_pays_and_kept_by_who_goes_on(tmp_path, hasty):
    algorithm = {**SAC, "batch_size": "auto", "buffer_size": 4000, "learning_starts": 1}
    sampling = {"samplers": 1, "envs_per_sampler": 2, "tuning": {"measure_s": 0.2}}
    job = job_of(algorithm, "Pendulum-v1", 10**7, **sampling)
    assert job.section.algorithm.batch_size == 256
    expected = Tuning(batch_size=1000, environments="free", measure_s=0.2)
    assert job.section.sampling.tuning == expected
    RunFolder.create(tmp_path, job)
    metrics = train(tmp_path, lambda events: "settled" in " ".join(events[1:]))
    events = told(tmp_path)
    assert "settled at 1 x 2" in events[0] and events[1].startswith("batch 256: ")
    assert events[1].endswith("; trying 512") and events[2].startswith("batch 512: ")
    state = saved.read(RunFolder.open(tmp_path).newest_checkpoint())
    assert state.batch_size in (256, 512)
    assert metrics["batch_size"] in (256, 512)
    assert attempt.as_found(job, state).section.algorithm.batch_size == state.batch_size


def test_auto_for_a_batch_is_refused_where_it_cannot_be_tuned():
    auto = {**SAC, "batch_size": "auto"}
    for more, words in (
        ({"deterministic": True, "samplers": 1}, "goes by the clock"),
        ({"samplers": 0}, "all is in one process"),
    ):
        with pytest.raises(UserError, match=rf"rl\.algorithm\.batch_size.*auto: .*{words}"):
            job_of(auto, "Pendulum-v1", **more)
    with pytest.raises(UserError, match=r"rl\.algorithm\.minibatch_size"):
        job_of({**PPO, "minibatch_size": "auto"}, "CartPole-v1", samplers=1)
    with pytest.raises(UserError, match="ppo learns from what was just sampled"):
        job_of(PPO, "CartPole-v1", samplers=1, tuning={"batch_size": 512})


def test_a_checkpoint_tells_of_what_was_found_not_of_what_is_tried(tmp_path, hasty):
    limits = {"samplers": 2, "envs_per_sampler": 4, "measure_s": 0.1}
    job = job_of(SAC, "Pendulum-v1", 10**7, samplers=1, envs_per_sampler=2, tuning=limits)
    RunFolder.create(tmp_path, job)
    run = Run.claim(tmp_path)
    run._on_report = lambda step, metrics: metrics["samplers"] == 2 and run.request_stop()
    run.finish("succeeded", attempt.train(run))
    state = saved.read(RunFolder.open(tmp_path).newest_checkpoint())
    assert len(state.samplers) == 2 and state.setting == state.asked == Setting(1, 2)


def test_a_resumed_job_that_asks_for_another_setting_begins_with_that():
    job = job_of(SAC, "Pendulum-v1", samplers="auto", envs_per_sampler=4)
    asked, found = attempt.asked_setting(job), Setting(4, 4)
    assert asked == Setting(2, 4)
    state = saved.TrainingState(None, {}, None, (), setting=found, asked=asked)
    assert attempt.asked_setting(attempt.as_found(job, state)) == found
    other = job_of(SAC, "Pendulum-v1", samplers=1, envs_per_sampler=4, tuning={"samplers": 8})
    assert attempt.as_found(other, state) is other
    fixed = job_of(SAC, "Pendulum-v1", samplers=1, envs_per_sampler=4)
    assert attempt.as_found(fixed, state) is fixed


def test_auto_says_what_is_tuned_and_how_far():
    auto = {"samplers": "auto", "envs_per_sampler": "auto"}

    def tuned(algorithm=SAC, env="Pendulum-v1", **more):
        return job_of(algorithm, env, **more).section.sampling.tuning

    free = Tuning(samplers=8, envs_per_sampler=64, environments="free")
    assert tuned(**auto) == free
    assert tuned(PPO, **auto) == free.model_copy(update={"environments": "kept"})
    assert tuned(samplers="auto", envs_per_sampler=3).envs_per_sampler is None
    assert tuned(samplers=2, envs_per_sampler=3) is None
    assert tuned(samplers={"min": 1, "max": 2}, envs_per_sampler="auto") is None
    assert tuned(cpus=1, **auto) is None, "all in one process"
    assert tuned(deterministic=True, **auto) is None
    job = job_of(SAC, "Pendulum-v1", **auto)
    assert parse_job_file(yaml.safe_load(dump_job_file(job)), Path.cwd()) == job
    assert tuned(PPO, samplers="auto", envs_per_sampler=4) is None, "nothing can be shared out"
    for more, words in (
        ({"deterministic": True, **auto}, "goes by the clock"),
        ({"samplers": 0, "envs_per_sampler": 4}, "all is in one process"),
        ({"samplers": {"min": 1, "max": 2}}, "follow the room in the cluster"),
        ({"samplers": 4}, "is 2, less than what it begins with: 4"),
    ):
        with pytest.raises(UserError, match=rf"rl\.sampling\.tuning.*{words}"):
            tuned(tuning={"samplers": 2}, **more)


@BOTH
def test_a_deterministic_job_is_not_tuned(tmp_path, hasty, algorithm, env):
    job = job_of(algorithm, env, 400, deterministic=True, samplers="auto", envs_per_sampler="auto")
    RunFolder.create(tmp_path, job)
    assert "samplers" not in train(tmp_path, lambda events: False)
    assert told(tmp_path) == []
    assert np.isfinite(saved.read(RunFolder.open(tmp_path).newest_checkpoint()).progress["updates"])

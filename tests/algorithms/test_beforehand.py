"""Training goes on from where it stood when others take over; the Ray actors of `test_faults.py`
take over so.
"""

import json
import time
from pathlib import Path

import pytest

from covey.algorithms import attempt
from covey.algorithms.beforehand import Beforehand, inline
from covey.algorithms.training import Training
from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.jobfile.model import Checkpointing
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import STOP_REQUESTED, Run
from covey.platform.runtime.ray_cluster import StartInterrupted

THIRD_PARTY = str(Path(__file__).parents[1] / "envs" / "third_party")
PPO = {"name": "ppo", "rollout_steps": 8, "minibatch_size": 16, "epochs": 1, "hidden": [8]}
SAC = {"name": "sac", "batch_size": 16, "hidden": [8], "block_steps": 4, "buffer_size": 500}


def job_of(algorithm, env, samplers=0, env_steps=1000, kwargs=None, **sampling):
    document = {
        "name": "test",
        "workload": "rl",
        "code": THIRD_PARTY,
        "stop": {"env_steps": env_steps},
        "rl": {
            "algorithm": algorithm,
            "env": {"id": env, "kwargs": kwargs or {}},
            "sampling": {"samplers": samplers, "envs_per_sampler": 2, **sampling},
            "evaluation": {"every_env_steps": 100, "episodes": 1},
        },
    }
    return parse_job_file(document, Path.cwd())


@pytest.fixture
def slow_crew(monkeypatch):
    """A crew, in this process too, that is there only once so many steps are reported."""
    inline_crew, reported = attempt.make_crew, []
    crews = []

    def make_crew(job):
        deadline = time.monotonic() + 120
        while not reported or reported[-1] < make_crew.steps:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        crews.append(reported[-1])
        return inline_crew(job)

    make_crew.steps, make_crew.reported = 200, reported
    monkeypatch.setattr(attempt, "make_crew", make_crew)
    monkeypatch.setattr(attempt, "starts_early", lambda run: True)
    return make_crew


@pytest.fixture
def held(monkeypatch):
    """Whoever trains beforehand, once enough is reported, until others are to take over."""
    held = []

    class Held(Beforehand):
        def __init__(self, *arguments):
            held.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(attempt, "Beforehand", Held)
    return held


def train(path, job, crew, held=()):
    def report(step, metrics):
        crew.reported.append(step)
        if held and step >= crew.steps:
            assert held[0]._is_over.wait(120)

    RunFolder.create(path, job)
    run = Run.claim(path, on_report=report)
    metrics = attempt.train(run)
    run.finish("succeeded", metrics)
    return metrics


@pytest.mark.parametrize(("algorithm", "env"), [(PPO, "CartPole-v1"), (SAC, "Pendulum-v1")])
def test_others_go_on_from_where_training_stood(
    tmp_path, slow_crew, held, monkeypatch, algorithm, env
):
    monkeypatch.setattr("covey.algorithms.training.SLICE_S", 0.001)
    metrics = train(tmp_path, job_of(algorithm, env), slow_crew, held)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for name in ("step", "wall_s", "updates", "episodes"):
        values = [line[name] for line in lines]
        assert values == sorted(values) and values[-1] > values[0] >= 0, name
    assert metrics["env_steps"] >= 1000 and metrics["updates"] == lines[-1]["updates"]
    assert [event["kind"] for event in events].count("actors") == 1
    evaluated = [line["step"] for line in lines if "evaluation_return_mean" in line]
    assert evaluated and evaluated[0] >= 200  # the evaluator came with the crew


def test_a_run_may_be_over_before_they_come(tmp_path, slow_crew):
    slow_crew.steps = 60
    metrics = train(tmp_path, job_of(PPO, "CartPole-v1", env_steps=60), slow_crew)
    assert metrics["env_steps"] >= 60 and "policy_loss" in metrics
    assert (tmp_path / "checkpoints" / "latest").exists()


def test_what_goes_wrong_meanwhile_is_said(tmp_path, monkeypatch):
    def refuse(job):
        raise UserError("no room")

    monkeypatch.setattr(attempt, "starts_early", lambda run: True)
    monkeypatch.setattr(attempt, "make_crew", refuse)
    job = job_of(PPO, "CartPole-v1")
    RunFolder.create(tmp_path, job)
    with pytest.raises(UserError, match="no room"):
        attempt.train(Run.claim(tmp_path))


def events_of(path):
    lines = (path / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_an_environment_that_hangs_meanwhile_is_left_to_the_actors(tmp_path, monkeypatch):
    mark, inline_crew = tmp_path / "stuck", attempt.make_crew

    def make_crew(job):
        while not mark.exists():
            time.sleep(0.01)
        return inline_crew(job)

    monkeypatch.setattr(attempt, "starts_early", lambda run: True)
    monkeypatch.setattr(attempt, "make_crew", make_crew)
    kwargs = {"mark": str(mark)}
    job = job_of(PPO, "lights.world:Stuck-v0", kwargs=kwargs, env_steps=200, hang_s=5)
    RunFolder.create(tmp_path / "run", job)
    metrics = attempt.train(Run.claim(tmp_path / "run"))
    assert metrics["env_steps"] >= 200 and metrics["replaced_workers"] == 1
    (told,) = [event for event in events_of(tmp_path / "run") if event["kind"] == "replaced"]
    assert "gave no sign" in told["message"]


def test_what_fails_meanwhile_is_tried_again_by_the_actors(tmp_path, slow_crew, monkeypatch):
    class Failing(Training):
        def go_on(self, is_over):
            while self._progress.env_steps < 300:
                self._take_in(self._team.learn(self._slice()))
                if self._run.checkpoint_due(self._progress.env_steps):
                    self._checkpoint()
            raise RuntimeError("not in this thread")

    monkeypatch.setattr("covey.algorithms.beforehand.Training", Failing)
    monkeypatch.setattr("covey.algorithms.training.SLICE_S", 0.001)
    job = job_of(PPO, "CartPole-v1")
    job = job.model_copy(update={"checkpoint": Checkpointing(every_env_steps=100)})
    metrics = train(tmp_path, job, slow_crew)
    assert metrics["env_steps"] >= 1000 and metrics["replaced_workers"] == 1
    kinds = [event["kind"] for event in events_of(tmp_path)]
    assert kinds.index("replaced") < kinds.index("restored") < kinds.index("actors")
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(steps)


def test_a_stop_while_ray_starts_keeps_what_was_learnt(tmp_path, monkeypatch):
    reported = []
    RunFolder.create(tmp_path, job_of(PPO, "CartPole-v1"))
    run = Run.claim(tmp_path, on_report=lambda step, metrics: reported.append(step))

    def make_crew(job):
        while not reported or reported[-1] < 100:
            time.sleep(0.01)
        run.request_stop()
        raise StartInterrupted

    monkeypatch.setattr(attempt, "starts_early", lambda run: True)
    monkeypatch.setattr(attempt, "make_crew", make_crew)
    monkeypatch.setattr("covey.algorithms.training.SLICE_S", 0.001)
    metrics = attempt.train(run)
    run.finish("stopped", metrics)
    assert run.reason == STOP_REQUESTED
    (kept,) = [int(one.name) for one in (tmp_path / "checkpoints").iterdir() if one.name.isdigit()]
    assert kept >= 100 and metrics["env_steps"] == kept


def test_all_environments_are_in_one_process_meanwhile():
    alone = inline(job_of(PPO, "CartPole-v1", samplers=3)).section
    assert alone.sampling.samplers == 0 and alone.sampling.envs_per_sampler == 6
    assert alone.algorithm.threads == 1 and alone.evaluation.every_env_steps is None

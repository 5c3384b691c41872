"""Who stands in for whom, shown with workers in threads that are lost whenever a test says so."""

import time
from pathlib import Path

import pytest
from thread_crew import ThreadCrew

from covey.algorithms import learner_seat, samplers
from covey.algorithms.orders import Slice
from covey.algorithms.parts import env_source, probe_spaces
from covey.algorithms.spare_samplers import STARTS
from covey.algorithms.team import Team
from covey.platform.jobfile.load import parse_job_file

THIRD_PARTY = str(Path(__file__).parents[1] / "envs" / "third_party")
PPO = {"name": "ppo", "rollout_steps": 8, "minibatch_size": 16, "epochs": 1, "hidden": [8]}
SAC = {
    **{"name": "sac", "batch_size": 16, "hidden": [8], "block_steps": 4, "buffer_size": 4000},
    **{"updates_per_step": 0.1, "prioritized": True},
}


def job_of(algorithm, env, kwargs=None, samplers=1, **sampling):
    document = {
        "name": "test",
        "workload": "rl",
        "code": THIRD_PARTY,
        "stop": {"env_steps": 10_000},
        "rl": {
            "algorithm": algorithm,
            "env": {"id": env, "kwargs": kwargs or {}},
            "sampling": {"samplers": samplers, "envs_per_sampler": 2, **sampling},
        },
    }
    return parse_job_file(document, Path.cwd())


@pytest.fixture
def begin():
    """Starts teams; closes them."""
    teams = []

    def begin(crew, algorithm, env, state=None, lives=0, **sampling):
        job = job_of(algorithm, env, **sampling)
        noted = []
        made = Team(
            crew, job, probe_spaces(env_source(job)), lambda *event: noted.append(event), lives
        )
        made.noted = noted
        teams.append(made)
        made.start(state)
        return made

    yield begin
    for made in teams:
        for worker in [one for workers in made.crew.workers.values() for one in workers]:
            worker.lose()
        for stream in made.samplers.streams:
            stream.stop = True
        time.sleep(0.05)
        made.close()


def learn(made, env_steps):
    """Until so many more steps are learnt from; the last report."""
    report, began = None, made._learner.progress["env_steps"]
    while made._learner.progress["env_steps"] < began + env_steps:
        report = made.learn(Slice(seconds=0.05)) or report
    return report


def until(made, condition):
    """Learn until then."""
    deadline_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline_s
        made.learn(Slice(seconds=0.05))


@pytest.mark.parametrize(("algorithm", "env"), [(PPO, "CartPole-v1"), (SAC, "Pendulum-v1")])
@pytest.mark.parametrize("role", ["learner", "sampler 0"])
def test_who_dies_is_replaced_wherever_it_happens(begin, algorithm, env, role):
    crew = ThreadCrew()
    made = begin(crew, algorithm, env)
    learn(made, 50)
    crew.newest(role).lose()  # while it works
    learn(made, 50)
    for call in ("state", "restore", "connect"):
        kind = role.partition(" ")[0]
        crew.loses = {kind: [call]}  # the next one dies over this
        learn(made, 20)
        crew.newest(role).lose()  # while the team pauses
        before = made._learner.progress["env_steps"]
        state = made.pause()
        assert state.progress["env_steps"] >= before > 100 and len(state.samplers) == 1
        made.go_on()
    report = learn(made, 50)
    assert report.metrics["env_steps"] > 150
    assert made.counts()["replaced_workers"] >= 5 and len(made.noted) >= 5


def test_samplers_that_never_write_anything_end_the_attempt(begin):
    crew = ThreadCrew(sampler=[None] + ["run"] * STARTS)
    made = begin(crew, PPO, "CartPole-v1")
    learn(made, 20)
    crew.newest("sampler 0").lose()
    with pytest.raises(RuntimeError, match=f"sampler 0 died; {STARTS} in a row wrote nothing"):
        learn(made, 50)


def test_a_sampler_that_hangs_is_replaced(begin, tmp_path):
    kwargs = {"mark": str(tmp_path / "stuck")}
    made = begin(ThreadCrew(), PPO, "lights.world:Stuck-v0", kwargs=kwargs, hang_s=5)
    report = learn(made, 100)
    assert report.metrics["env_steps"] >= 100
    assert any("gave no sign" in message for _, message in made.noted)
    assert made.counts()["replaced_workers"] == 1


@pytest.mark.parametrize(("algorithm", "env"), [(PPO, "CartPole-v1"), (SAC, "Pendulum-v1")])
def test_samplers_join_where_there_is_room_and_leave_when_others_need_it(
    begin, monkeypatch, algorithm, env
):
    monkeypatch.setattr(samplers, "GROW_S", 0.0)
    monkeypatch.setattr(samplers, "GIVEN_S", 0.0)
    monkeypatch.setattr(learner_seat, "LOOK_S", 0.01)
    crew = ThreadCrew()
    made = begin(crew, algorithm, env, samplers={"min": 1, "max": 3})
    learn(made, 50)
    assert made.counts()["samplers"] == 1 and len(made.samplers.members) == 3
    crew.free = 9.0
    until(made, lambda: all(stream.blocks_written > 2 for stream in made.samplers.streams))
    assert made.counts()["samplers"] == 3
    crew.newest("sampler 2").lose()
    until(made, lambda: crew.workers["sampler 2"][1:] and made.counts()["samplers"] == 3)
    crew.free = -1.0
    until(made, lambda: made.counts()["samplers"] == 1)
    assert all(crew.newest(f"sampler {number}").lost for number in (1, 2))
    learn(made, 100)
    assert len(made.pause().samplers) == 1
    made.go_on()
    crew.free = 9.0
    until(made, lambda: made.counts()["samplers"] == 3)
    learn(made, 100)
    state = made.pause()
    assert len(state.samplers) == 3
    assert made.counts()["replaced_workers"] == 0
    told = [message for kind, message in made.noted if kind == "samplers"]
    assert told[0] == "sampler 1 joins: 2 of 1 to 3"
    assert "sampler 1 gives room to others that wait: 2 of 1 to 3" in told
    after = begin(ThreadCrew(), algorithm, env, state, lives=1, samplers={"min": 1, "max": 3})
    assert learn(after, 50).metrics["env_steps"] >= state.progress["env_steps"] + 50


@pytest.mark.parametrize(("algorithm", "env"), [(PPO, "CartPole-v1"), (SAC, "Pendulum-v1")])
@pytest.mark.parametrize("count", [1, 2])
def test_others_take_over_with_every_row_and_count_once(begin, algorithm, env, count):
    first = begin(ThreadCrew(), algorithm, env)
    learn(first, 200)
    state = first.pause()
    steps = state.progress["env_steps"]
    after = begin(ThreadCrew(), algorithm, env, state, lives=1, samplers=count)
    held = after.pause()
    if algorithm is SAC:
        rows = [*held.rows, *held.archives]
        valid = sum(int(part.rows.valid.sum()) for part in rows)
        assert valid == held.progress["env_steps"] >= steps
    after.go_on()
    report = learn(after, 100)
    assert report.metrics["env_steps"] >= steps + 100
    assert report.metrics["episodes"] >= state.progress["episodes"]
    assert after.pause().lives == 1


def test_the_first_weights_of_a_learner_are_those_of_the_snapshot(begin, monkeypatch):
    monkeypatch.setattr(learner_seat, "SNAPSHOT_S", 0.0)
    crew = ThreadCrew()
    made = begin(crew, PPO, "CartPole-v1")
    learn(made, 100)
    known = made.newest_weights().version
    crew.newest("learner").lose()
    assert made.learn(Slice(seconds=0.01)) is None
    assert made.newest_weights().version >= known
    (weights,) = crew.fetch([crew.newest("learner").submit("weights")])
    assert weights.version == made._learner.snapshot.record["version"] > 0

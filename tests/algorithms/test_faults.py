"""What is killed while training goes on is replaced, and training goes on."""

import json
import signal

import psutil
import pytest
from started_job import actors_of, lines, start, wait_for


@pytest.fixture
def begun(tmp_path):
    """Starts a job with `more` in its `rl` section, which trains until the test ends."""
    started = []

    def begun(**more):
        section = {
            "algorithm": {"name": "ppo", "rollout_steps": 32, "epochs": 2},
            "env": {"id": "CartPole-v1"},
            "sampling": {"samplers": 1, "envs_per_sampler": 4},
        }
        path = tmp_path / f"run {len(started)}"
        process = start(path, tmp_path / "home", section | more, steps=100_000_000)
        started.append(process)
        wait_for(process, lambda: lines(path), "it never began")
        return process, path

    yield begun
    for process in started:
        process.kill()
        process.wait()


def stop(process):
    """The status of a job that was asked to stop."""
    process.send_signal(signal.SIGTERM)
    return process.wait(300)


@pytest.mark.ray
def test_killed_workers_are_replaced_while_training_goes_on(begun):
    evaluation = {"every_env_steps": 256, "episodes": 2}
    process, path = begun(evaluation=evaluation, viewer={"every_s": 1})
    for role in ("sampler-0", "evaluator", "viewer", "learner"):
        victim = wait_for(process, lambda role=role: actors_of(process).get(role), role)
        before = len(lines(path))
        victim.kill()
        wait_for(process, lambda n=before: len(lines(path)) > n + 5, f"{role} was not replaced")
    steps = [line["step"] for line in lines(path)]
    assert steps == sorted(steps)
    assert lines(path)[-1]["replaced_workers"] >= 2
    wait_for(process, (path / "live.png").exists, "nothing was drawn")
    held = [*actors_of(process).values()]
    assert stop(process) == 4
    psutil.wait_procs(held, timeout=120)
    assert not [one for one in held if one.is_running()]
    assert (path / "checkpoints" / "latest").exists()


def told(path, kind):
    lines = (path / "events.jsonl").read_text().splitlines()
    return [event["message"] for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.mark.ray
@pytest.mark.parametrize("role", ["learner-1", pytest.param("learner", marks=pytest.mark.slow)])
def test_the_death_of_one_learner_ends_in_a_new_group_of_them(begun, role):
    process, path = begun(learners={"count": 2})
    wait_for(process, lambda: told(path, "actors"), "the group never began")
    before, group = len(lines(path)), actors_of(process)
    group[role].kill()
    wait_for(process, lambda: len(lines(path)) > before + 5, f"{role} was not replaced")
    (why,) = told(path, "replaced")
    assert why.startswith(f"{role.replace('-', ' ')} died")
    now = actors_of(process)
    assert now["sampler-0"] == group["sampler-0"]
    assert now["learner"] != group["learner"] and now["learner-1"] != group["learner-1"]
    steps = [line["step"] for line in lines(path)]
    assert steps == sorted(steps)
    assert stop(process) == 4


@pytest.mark.ray
def test_a_run_that_is_stopped_while_ray_starts_keeps_what_it_learnt(begun):
    for _ in range(3):
        process, path = begun()
        status = stop(process)
        if status != -signal.SIGABRT:  # for a moment Ray's core has a handler that aborts
            break
    assert status == 4
    assert (path / "checkpoints" / "latest").exists()
    assert json.loads((path / "result.json").read_text())["step"] > 0

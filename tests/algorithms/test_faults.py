"""What is killed while training goes on is replaced, and training goes on."""

import json
import signal
from contextlib import suppress

import psutil
import pytest
from safetensors.numpy import load_file
from started_job import actors_of, go_on, lines, start, wait_for


@pytest.fixture
def begun(tmp_path):
    """Starts a job with something `different` in its `rl` section and `more` beside it, which
    trains until the test ends.
    """
    started = []

    def begun(more=None, **different):
        section = {
            "algorithm": {"name": "ppo", "rollout_steps": 32, "epochs": 2},
            "env": {"id": "CartPole-v1"},
            "sampling": {"samplers": 1, "envs_per_sampler": 4},
        }
        path = tmp_path / f"run {len(started)}"
        job = more or {}
        process = start(path, tmp_path / "home", section | different, steps=100_000_000, **job)
        started.append(process)
        wait_for(process, lambda: lines(path), "it never began")
        return process, path

    begun.started = started
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
@pytest.mark.slow
def test_a_learner_that_hangs_is_killed_and_replaced(begun):
    process, path = begun()
    wait_for(process, lambda: told(path, "actors"), "it never began")
    before, hanging = len(lines(path)), actors_of(process)["learner"]
    hanging.suspend()
    wait_for(process, lambda: len(lines(path)) > before + 5, "it was not replaced")
    (why,) = told(path, "replaced")
    assert why == "learner gave no sign for 60 s and was killed; another one goes on in its place"
    assert not hanging.is_running() and actors_of(process)["learner"] != hanging
    assert stop(process) == 4


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_that_tunes_itself_survives_kills_and_goes_on_with_what_it_found(begun, tmp_path):
    section = {
        "algorithm": {"name": "dqn", "hidden": [16], "updates_per_step": 0.01},
        "sampling": {
            **{"samplers": 1, "envs_per_sampler": 1},
            "tuning": {"samplers": 4, "envs_per_sampler": 16, "measure_s": 1},
        },
    }
    process, path = begun(**section, more={"checkpoint": {"every_s": 1}})

    def told():
        events = map(json.loads, (path / "events.jsonl").read_text().splitlines())
        return [event["message"] for event in events if event["kind"] == "tuning"]

    for role in ("sampler-0", "learner"):
        before = len(told())
        wait_for(process, lambda n=before: len(told()) > n, "nothing was tried")
        actors_of(process)[role].kill()
    wait_for(process, lambda: "settled" in told()[-1], "it never settled")
    before = lines(path)[-1]["step"]
    found = told()[-1].rpartition("settled at ")[2].split(" x ")
    wait_for(process, lambda: lines(path)[-1]["samplers"] == int(found[0]), "it did not change")
    wait_for(process, lambda: lines(path)[-1]["step"] > before + 50_000, "it does not go on")
    held = [*actors_of(process).values()]
    process.kill()
    psutil.wait_procs(held, timeout=120)
    again = go_on(path, tmp_path / "home")
    begun.started.append(again)
    wait_for(again, lambda: lines(path)[-1]["step"] > before + 100_000, "it does not go on")
    now = lines(path)[-1]
    assert [str(int(now[name])) for name in ("samplers", "envs_per_sampler")] == found
    assert stop(again) == 4


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


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_replay_shard_is_replaced_and_a_killed_run_goes_on_with_all_priorities(tmp_path):
    section = {
        "algorithm": {
            **{"name": "apex", "batch_size": 32, "hidden": [16], "buffer_size": 5000},
            **{"learning_starts": 200, "updates_per_step": 0.2, "block_steps": 4},
            "replay": {"shards": 2},
        },
        "env": {"id": "CartPole-v1"},
        "sampling": {"samplers": 2, "envs_per_sampler": 2},
    }
    path, home, more = tmp_path / "run", tmp_path / "home", {"checkpoint": {"every_s": 2}}
    process = start(path, home, section, steps=100_000_000, **more)
    try:
        for role in ("replay-shard-1", "replay-shard-0"):
            victim = wait_for(process, lambda role=role: actors_of(process).get(role), role)
            wait_for(process, lambda: lines(path), "it never began")
            told, updates = len(replaced(path)), lines(path)[-1]["updates"]
            victim.kill()
            wait_for(process, lambda n=told: len(replaced(path)) > n, f"{role} was not replaced")
            wait_for(process, lambda n=updates: lines(path)[-1]["updates"] > n + 200, "it stopped")
        assert all("refills from the samplers' streams" in told for told in replaced(path))
        wait_for(process, lambda: saved_priorities(path), "no checkpoint came")
        kill_all(process)
        before = lines(path)[-1]["step"]
        process = go_on(path, home)
        wait_for(process, lambda: lines(path)[-1]["step"] > before + 2000, "it did not go on")
        kinds = [event["kind"] for event in events(path)]
        assert "restored" in kinds
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 4
    finally:
        kill_all(process)


def events(path):
    return [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]


def replaced(path):
    return [event["message"] for event in events(path) if event["kind"] == "replaced"]


def saved_priorities(path):
    """Whether the newest checkpoint has those of nearly all rows."""
    latest = path / "checkpoints" / "latest"
    if not (latest / "optimizer.safetensors").exists():
        return 0
    arrays = load_file(latest / "optimizer.safetensors")
    held = [array for name, array in arrays.items() if name.startswith("replay.priorities")]
    return sum(int((array > 0).sum()) for array in held) > 4000


def kill_all(process):
    """With everybody that it started."""
    if process.poll() is None:
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            psutil.Process(process.pid),
        ]
        for one in family:
            with suppress(psutil.Error):
                one.kill()
        process.wait()

"""Whole small training runs: exact resume, inline against actors, learning, what is left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from covey.algorithms import saved
from covey.algorithms.networks import ActorCritic
from covey.algorithms.workload import WORKLOAD
from covey.platform.errors import UserError
from covey.platform.jobfile.load import parse_job_file
from covey.platform.policy import load_policy
from covey.platform.runs.folder import RunFolder
from covey.platform.runs.run import Run

# Box2D's extension crashes the interpreter if this warning of its import is made an error.
pytestmark = pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")

THIRD_PARTY = str(Path(__file__).parents[1] / "envs" / "third_party")
SMALL = {"rollout_steps": 16, "minibatch_size": 32, "epochs": 2, "hidden": [16], "threads": 1}


def job_of(
    env="CartPole-v1",
    algorithm=SMALL,
    samplers=0,
    kwargs=None,
    evaluation=None,
    sampling=None,
    **shared,
):
    return parse_job_file(
        {
            "name": "test",
            "workload": "rl",
            "seed": 3,
            "stop": {"env_steps": 512},
            **shared,
            "rl": {
                "algorithm": {"name": "ppo", **algorithm},
                "env": {"id": env, "kwargs": kwargs or {}},
                "sampling": {"samplers": samplers, "envs_per_sampler": 4, **(sampling or {})},
                "evaluation": evaluation or {},
            },
        },
        Path.cwd(),
    )


def train(path, job=None, interfere=None):
    """One attempt in a run folder, made if `job` is given; `interfere(run, step)` each report."""
    if job is not None:
        RunFolder.create(path, job)
    run = Run.claim(path)
    run._on_report = interfere and (lambda step, metrics: interfere(run, step))
    metrics = WORKLOAD.run(run)
    run.finish("succeeded", metrics)
    return metrics


def final_files(path):
    folder = path / "checkpoints" / "latest"
    return {
        part.name: part.read_bytes() for part in folder.iterdir() if part.name != "manifest.json"
    }


@pytest.mark.parametrize(
    ("env", "kwargs", "groups"),
    [
        ("LunarLander-v3", {}, 1),
        ("lights.world:Noisy-v0", {"seeded": True}, 1),
        ("LunarLander-v3", {}, 2),
    ],
)
def test_a_resumed_deterministic_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path, env, kwargs, groups
):
    algorithm = {**SMALL, "normalize_returns": True}
    sampling = {"groups": groups}
    job = job_of(env, algorithm, 0, kwargs, None, sampling, code=THIRD_PARTY, deterministic=True)
    train(tmp_path / "whole", job)

    def stop_at_half(run, step):
        if step >= 256:
            run.request_stop()

    train(tmp_path / "halves", job, stop_at_half)
    assert 256 <= json.loads((tmp_path / "halves" / "result.json").read_text())["step"] < 350
    train(tmp_path / "halves")
    assert final_files(tmp_path / "halves") == final_files(tmp_path / "whole")


@pytest.mark.parametrize("policies", ["shared", "separate"])
@pytest.mark.parametrize("groups", [1, 2])
def test_agents_of_an_environment_learn_together_and_go_on(tmp_path, policies, groups):
    algorithm = {**SMALL, "policies": policies}
    evaluation = {"every_env_steps": 200, "episodes": 3}
    sampling, kwargs = {"groups": groups}, {"max_cycles": 6}
    job = job_of(
        *("mpe2.simple_spread_v3", algorithm, 0, kwargs, evaluation, sampling), deterministic=True
    )
    train(tmp_path / "run", job, lambda run, step: step >= 200 and run.request_stop())
    metrics = train(tmp_path / "run")
    assert metrics["env_steps"] >= 512 and metrics["episode_length_mean"] == 6
    assert metrics["evaluation_return_mean"] < 0 and np.isfinite(metrics["policy_loss"])
    policy = load_policy(tmp_path / "run")
    assert policy.act(np.zeros((3, 18), dtype=np.float32)).shape == (3,)


@pytest.mark.parametrize("policies", ["shared", "separate"])
def test_agents_learn_that_leave_long_before_the_others(tmp_path, policies):
    algorithm = {**SMALL, "learning_rate": 0.01, "epochs": 4, "gamma": 0.5, "policies": policies}
    job = job_of(
        "lights.crowd:calm_env",
        algorithm,
        kwargs={"stays": [2, 40, 3]},
        code=THIRD_PARTY,
        stop={"env_steps": 6000},
    )
    metrics = train(tmp_path / "run", job)
    assert metrics["episode_length_mean"] == pytest.approx(15, abs=0.5)
    assert metrics["episode_return_mean"] > 13, "a step earns 1 at best, and 0.5 at random"


def test_without_deterministic_mode_a_resume_keeps_all_but_the_episodes_under_way(tmp_path):
    train(tmp_path / "run", job_of(stop={"env_steps": 256}))
    halfway = json.loads(final_files(tmp_path / "run")["state.json"])
    RunFolder.open(tmp_path / "run").replace_job(job_of())
    metrics = train(tmp_path / "run")
    assert 512 <= metrics["env_steps"] < 576
    assert metrics["updates"] > halfway["progress"]["updates"] > 0
    assert metrics["episodes"] >= halfway["progress"]["episodes"] > 0


def test_the_newest_evaluation_is_kept_over_a_resume_and_reported(tmp_path):
    job = job_of(deterministic=True, evaluation={"every_env_steps": 384, "episodes": 2})
    whole = train(tmp_path / "whole", job)
    train(tmp_path / "run", job, lambda run, step: step >= 448 and run.request_stop())
    resumed = train(tmp_path / "run")
    names = {"evaluation_return_mean", "evaluation_return_std"}
    assert {n: whole[n] for n in names} == {n: resumed[n] for n in names}
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert sum("evaluation_return_mean" in line for line in lines) >= 1


@pytest.mark.ray
def test_inline_and_one_sampler_actor_give_the_same_weights_bit_for_bit(tmp_path):
    evaluation = {"every_env_steps": 256, "episodes": 2}
    inline, actor = (
        job_of(samplers=samplers, deterministic=True, evaluation=evaluation) for samplers in (0, 1)
    )
    assert train(tmp_path / "inline", inline)["evaluation_return_mean"] > 0
    RunFolder.create(tmp_path / "actor", actor)
    script = (
        "import sys; from pathlib import Path; from covey.platform.driver import run_attempt\n"
        "outcome = run_attempt(Path(sys.argv[1])); print(outcome); sys.exit(outcome.exit_status)"
    )
    environment = {**os.environ, "COVEY_HOME": str(tmp_path / "home")}
    # Ray in a process of its own: it leaves files open, which here would be errors.
    command = [sys.executable, "-c", script, str(tmp_path / "actor")]
    subprocess.run(command, env=environment, check=True)
    assert final_files(tmp_path / "inline") == final_files(tmp_path / "actor")


def test_learns_to_follow_the_lights_and_gives_the_policy_back(tmp_path):
    algorithm = {"learning_rate": 0.01, "rollout_steps": 32, "hidden": [16], "gamma": 0.5}
    job = job_of(
        "lights.world:Follow-v0",
        {**algorithm, "epochs": 4},
        code=THIRD_PARTY,
        stop={"env_steps": 20_000, "episode_return_mean": 9.5},
    )
    metrics = train(tmp_path / "run", job)
    assert metrics["episode_return_mean"] >= 9.5 and metrics["env_steps"] < 20_000
    policy = load_policy(tmp_path / "run")
    assert policy.act(np.array([0, 1, 2])).tolist() == [1, 2, 3]
    assert policy.act(np.array(1)) == 2
    result = WORKLOAD.evaluate(tmp_path / "run", 7)
    assert result == {"episode_return_mean": 10.0, "episode_return_std": 0.0, "episodes": 7}


def test_learns_the_value_of_a_constant_reward_cut_short_or_ended(tmp_path):
    """With gamma 0.5 the last step is worth 1 if the episode ends, more if it is only cut short."""
    values = {}
    for ending in ("truncated", "terminated"):
        algorithm = {**SMALL, "learning_rate": 0.01, "gamma": 0.5, "normalize_observations": False}
        job = job_of(
            "lights.world:Count-v0",
            {**algorithm, "epochs": 8},
            code=THIRD_PARTY,
            kwargs={"length": 2, "ending": ending},
            stop={"env_steps": 4096},
        )
        train(tmp_path / ending, job)
        state = saved.read(RunFolder.open(tmp_path / ending).newest_checkpoint())
        network = ActorCritic(state.spaces, (16,), "tanh", False, torch.Generator())
        network.load_state_dict({k: torch.from_numpy(v) for k, v in state.learner.model.items()})
        with torch.no_grad():
            values[ending] = network.value(torch.tensor([[0.0], [1.0]])).tolist()
    # Nothing ever acts on the final observation, so its value is what the network makes of it: the
    # cut-short episode is worth more than the ended one, which is known exactly.
    assert values["terminated"] == pytest.approx([1.5, 1.0], abs=0.1)
    assert values["truncated"][1] > 1.2


def test_cartpole_gets_better_in_seconds(tmp_path):
    algorithm = {"learning_rate": 1e-3, "rollout_steps": 128, "epochs": 6, "gamma": 0.98}
    job = job_of(algorithm=algorithm, stop={"env_steps": 30_000, "episode_return_mean": 100})
    assert train(tmp_path / "run", job)["episode_return_mean"] >= 100


@pytest.mark.parametrize(
    ("fault", "words"),
    [("nan", "observation is not a finite"), ("reward", "reward is not a finite")],
)
def test_numbers_that_are_not_finite_are_the_environments_fault(tmp_path, fault, words):
    job = job_of("lights.world:Faulty-v0", kwargs={"fault": fault}, code=THIRD_PARTY)
    with pytest.raises(UserError, match=f"Faulty-v0: an? {words}"):
        train(tmp_path / "run", job)


def test_job_files_are_checked_and_auto_is_resolved():
    with pytest.raises(UserError, match=r"rl\.env\.id.*did you mean CartPole-v1"):
        job_of(env="CartPoel-v1")
    with pytest.raises(UserError, match=r"needs stop\.env_steps"):
        job_of(algorithm={"schedule": "linear"}, stop={"episode_return_mean": 1})
    job = job_of(samplers="auto", resources={"cpus": 2})
    assert job.rl.sampling.samplers == 2
    assert job_of(samplers="auto").rl.sampling.samplers == 0


SMALL_REPLAY = {
    "hidden": [16],
    "batch_size": 16,
    "learning_starts": 32,
    "block_steps": 4,
    "threads": 1,
}


def replay_job_of(env, algorithm, samplers=0, steps=192, **shared):
    section = {
        "algorithm": {**SMALL_REPLAY, **algorithm},
        "env": {"id": env},
        "sampling": {"samplers": samplers, "envs_per_sampler": 2},
    }
    job = {"name": "test", "workload": "rl", "seed": 3, "stop": {"env_steps": steps}, **shared}
    return parse_job_file({**job, "rl": section}, Path.cwd())


@pytest.mark.parametrize(
    ("env", "algorithm"),
    [
        ("Pendulum-v1", {"name": "sac", "buffer_size": 100}),
        ("Pendulum-v1", {"name": "sac", "n_step": 3, "prioritized": True}),
        ("CartPole-v1", {"name": "dqn", "target_every": 7, "epsilon_steps": 100}),
        ("CartPole-v1", {"name": "dqn", "n_step": 3, "prioritized": True, "dueling": True}),
        ("CartPole-v1", {"name": "apex", "updates_per_step": 0.5}),
        ("simple_adversary", {"name": "maddpg", "updates_per_step": 0.5, "learning_starts": 8}),
    ],
    ids=["sac", "sac-prioritized", "dqn", "dqn-prioritized", "apex", "maddpg"],
)
def test_with_replay_a_resumed_deterministic_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path, monkeypatch, env, algorithm
):
    monkeypatch.setattr("covey.algorithms.replay_config.ReplayConfig.report_steps", 32)
    job = replay_job_of(env, algorithm, deterministic=True)
    train(tmp_path / "whole", job)
    train(tmp_path / "halves", job, lambda run, step: step >= 96 and run.request_stop())
    assert json.loads((tmp_path / "halves" / "result.json").read_text())["step"] < 150
    train(tmp_path / "halves")
    assert final_files(tmp_path / "halves") == final_files(tmp_path / "whole")


def test_another_number_of_environments_goes_on_with_all_that_was_learnt_and_seen(tmp_path):
    job = replay_job_of("Pendulum-v1", {"name": "sac", "buffer_size": 150})
    train(tmp_path / "run", job)
    before = state_of(tmp_path / "run")
    section = job.section.model_copy(
        update={"sampling": job.section.sampling.model_copy(update={"envs_per_sampler": 3})}
    )
    stop = job.stop.model_copy(update={"env_steps": 216})
    RunFolder.open(tmp_path / "run").replace_job(
        job.model_copy(update={"rl": section, "stop": stop})
    )
    metrics = train(tmp_path / "run")
    after = state_of(tmp_path / "run")
    assert metrics["env_steps"] >= 216 and metrics["updates"] > before.progress["updates"]
    (held,) = after.archives
    np.testing.assert_array_equal(held.rows.rewards, before.rows[0].rows.rewards)
    assert after.rows[0].rows.rewards.shape[1] == 3
    assert held.oldest_row == before.rows[0].oldest_row


def state_of(path):
    return saved.read(RunFolder.open(path).newest_checkpoint())

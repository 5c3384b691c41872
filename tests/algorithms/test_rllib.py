"""RLlib's algorithms as small real runs, all on one private Ray in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

THIRD_PARTY = str(Path(__file__).parents[1] / "envs" / "third_party")
NETWORK = {"model_config": {"fcnet_hiddens": [16]}, "num_env_runners": 0}
PPO = {**NETWORK, "train_batch_size_per_learner": 64, "minibatch_size": 32, "num_epochs": 1}
SAC = {
    **NETWORK,
    "num_steps_sampled_before_learning_starts": 20,
    "min_sample_timesteps_per_iteration": 30,
    "min_time_s_per_iteration": 0,
    "train_batch_size_per_learner": 16,
    "rollout_fragment_length": 10,  # an update every so many steps
    "replay_buffer_config": {"type": "PrioritizedEpisodeReplayBuffer", "capacity": 1000},
}


@pytest.mark.ray
def test_rllib(tmp_path):
    # In a process of its own: Ray and RLlib leave files open and warn, which here would be errors.
    environment = {
        **os.environ,
        "COVEY_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    script = "import sys, test_rllib; test_rllib.rllib_by_itself(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=True)


def rllib_by_itself(folder):
    from covey.platform.environment import prepare_libraries

    prepare_libraries()
    settings_are_rllibs_attributes()
    with one_ray():
        everything_goes_on_after_a_restore()
        a_run_is_stopped_resumed_and_measured(Path(folder) / "sac")
        a_policy_sees_and_acts_as_its_environment_wants()
        mistakes_are_one_line()


class one_ray:
    """The runs within share one Ray: each would start and end one of its own, for 8 s."""

    def __enter__(self):
        import ray

        from covey.platform.jobfile.model import Resources
        from covey.platform.runtime import ray_cluster

        ray_cluster.connect(Resources(cpus=2), "local")
        self._kept = (ray.shutdown, ray_cluster.connect)
        ray.shutdown, ray_cluster.connect = (lambda: None), (lambda *_: None)

    def __exit__(self, *_):
        import ray

        from covey.platform.runtime import ray_cluster

        ray.shutdown, ray_cluster.connect = self._kept
        ray.shutdown()


def job_of(algorithm, env, config, steps=100, kwargs=None):
    from covey.platform.jobfile.load import parse_job_file

    return parse_job_file(
        {
            "name": "test",
            "workload": "rllib",
            "seed": 3,
            "code": THIRD_PARTY,
            "stop": {"env_steps": steps},
            "rllib": {
                "algorithm": algorithm,
                "env": {"id": env, "kwargs": kwargs or {}},
                "config": config,
            },
        },
        Path.cwd(),
    )


def attempt(path, job=None, interfere=None):
    """One attempt in a run folder, made if `job` is given; `interfere(run, step)` each report."""
    from covey.algorithms.rllib_workload import WORKLOAD
    from covey.platform.runs.folder import RunFolder
    from covey.platform.runs.run import Run

    if job is not None:
        RunFolder.create(path, job)
    run = Run.claim(path)
    run._on_report = interfere and (lambda step, metrics: interfere(run, step))
    metrics = WORKLOAD.run(run)
    run.finish("succeeded", metrics)
    return metrics


def settings_are_rllibs_attributes():
    """What is read from the source is what a configuration has when it is made."""
    from importlib import import_module

    from ray._common.deprecation import DEPRECATED_VALUE

    from covey.algorithms.rllib_settings import BEHIND_PROPERTIES, algorithm_names, settings

    for name in algorithm_names():
        module = import_module(f"ray.rllib.algorithms.{name.lower()}")
        made = vars(getattr(module, name).get_default_config())
        public = {key: value for key, value in made.items() if not key.startswith("_")}
        known = settings(name)
        assert known.keys() - BEHIND_PROPERTIES.keys() <= public.keys(), name
        for key in public.keys() - known.keys():
            assert public[key] == DEPRECATED_VALUE, (name, key)
        for key in known.keys() & public.keys():
            if isinstance(known[key].default, bool | int | float | str):
                assert known[key].default == public[key], (name, key)


def everything_goes_on_after_a_restore():
    """Counters, networks, optimisers, temperature, and the replay buffer with its priorities."""
    import numpy as np

    from covey.algorithms.rllib_tree import unpack

    first, _ = trainer_of("SAC", "Pendulum-v1", SAC)
    iterations = [first.train() for _ in range(3)]
    assert sum(i.env_steps for i in iterations) >= 90 and iterations[-1].updates > 0
    state = first.state()
    second, _ = trainer_of("SAC", "Pendulum-v1", SAC, root_seed=2)
    assert not all(np.array_equal(second.state().model[n], state.model[n]) for n in state.model)
    second.restore(state.algorithm, state.replay, state.variables)
    again = second.state()
    assert all(np.array_equal(again.model[n], state.model[n]) for n in state.model)
    assert state.variables["curr_log_alpha.default_policy"] != 0.0  # the temperature has moved
    assert again.variables == state.variables
    trees = [unpack(s.algorithm.tree, s.algorithm.arrays) for s in (state, again)]
    one, other = (flat(tree["learner_group"]["learner"]["optimizer"]) for tree in trees)
    assert one.keys() == other.keys() and any("exp_avg" in name for name in one)
    for name, value in one.items():
        assert np.array_equal(value, other[name]), name
    assert again.replay.tree == state.replay.tree
    for name, array in state.replay.arrays.items():
        assert np.array_equal(again.replay.arrays[name], array), name
    buffers = [t._algorithm.local_replay_buffer for t in (first, second)]
    assert len(buffers[0]) == len(buffers[1]) >= 90
    assert buffers[0]._sum_segment.value == buffers[1]._sum_segment.value
    steps = ("env_runners", "num_env_steps_sampled_lifetime")
    assert first._algorithm.metrics.peek(steps) == second._algorithm.metrics.peek(steps)
    assert second.train().env_steps >= 30


def flat(value, name=""):
    """A nested state as arrays by their paths; what is no number or array is left out."""
    import numpy as np

    if isinstance(value, dict):
        parts = [flat(part, f"{name}.{key}") for key, part in value.items()]
        return {key: found for part in parts for key, found in part.items()}
    if isinstance(value, int | float | np.ndarray | np.generic):
        return {name: np.asarray(value)}
    return {}


def a_run_is_stopped_resumed_and_measured(path):
    import json

    import numpy as np

    from covey.platform.policy import load_policy

    job = job_of("SAC", "Pendulum-v1", SAC, steps=420)
    attempt(path, job, lambda run, step: step >= 210 and run.request_stop())
    halfway = json.loads((path / "result.json").read_text())
    assert 210 <= halfway["step"] < 420 and halfway["reason"] == "stop requested"
    folder = path / "checkpoints" / "latest"
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "state.json", "replay.json", "rllib.safetensors"} <= names
    assert not any(name.endswith((".pkl", ".pickle")) for name in names)
    metrics = attempt(path)
    assert metrics["env_steps"] >= 420 and metrics["updates"] > halfway["metrics"]["updates"]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["env_steps"] for line in lines] == sorted({line["env_steps"] for line in lines})
    # An episode of Pendulum-v1 has 200 steps; RLlib's pieces of it are shorter.
    assert metrics["episodes"] >= 1 and metrics["episode_length_mean"] == 200
    assert -2000 < metrics["episode_return_mean"] < 0 and metrics["alpha_value"] > 0
    assert (path / "curves.png").stat().st_size > 10_000
    actions = load_policy(path).act(np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 5.0]], np.float32))
    assert actions.shape == (2, 1) and np.all(np.abs(actions) <= 2)
    assert evaluate(path, 1) == evaluate(path, 1)


def evaluate(path, episodes):
    from covey.algorithms.rllib_workload import WORKLOAD

    return WORKLOAD.evaluate(path, episodes)


def trainer_of(algorithm, env, config, kwargs=None, root_seed=1):
    """A trainer in this process, and what it was ordered by."""
    from covey.algorithms.rllib_build import order
    from covey.algorithms.rllib_resources import share_out
    from covey.algorithms.rllib_trainer import RllibTrainer

    job = job_of(algorithm, env, config, kwargs=kwargs)
    wanted = order(job, share_out(algorithm, config, job.resources), root_seed)
    return RllibTrainer(wanted), wanted


def a_policy_sees_and_acts_as_its_environment_wants():
    """Discrete observations, and actions that count from 1."""
    import numpy as np

    from covey.algorithms.rllib_trained import RllibPolicy, play

    config = {**PPO, "lr": 0.02, "gamma": 0.0, "num_epochs": 8, "num_envs_per_env_runner": 4}
    trainer, wanted = trainer_of("PPO", "lights.world:Follow-v0", config)
    means = [np.mean(trainer.train().returns) for _ in range(20)]
    assert means[-1] > means[0]
    policy = RllibPolicy(wanted, trainer.spaces(), trainer.state().model)
    assert policy.act(np.array([0, 1, 2])).tolist() == [1, 2, 3]
    assert policy.act(np.array(1)) == 2
    assert play(policy, wanted.source, seed=0, number=0) == 10.0


def mistakes_are_one_line():
    from covey.platform.errors import UserError

    faulty = "lights.world:Faulty-v0"
    refused = "rllib.config: RLlib's PPO refuses it: "
    cases = (
        (faulty, PPO, {"fault": "step"}, f"environment {faulty}: step failed: RuntimeError: lamp"),
        (faulty, PPO, {"fault": "space"}, "observation space"),
        ("lights.world:Missing-v0", PPO, {}, "Missing-v0"),
        ("CartPole-v1", {**PPO, "minibatch_size": 65}, {}, refused),
        ("CartPole-v1", {**PPO, "model_config": {"fcnet_activation": "rely"}}, {}, refused),
    )
    for env, config, kwargs, words in cases:
        try:
            trainer_of("PPO", env, config, kwargs)[0].train()
        except UserError as error:
            assert words in str(error) and "\n" not in str(error), str(error)
        else:
            raise AssertionError(f"{config}: nothing was said")

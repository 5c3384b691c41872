"""RLlib's EnvRunners sampling for PPO (new API stack), two of them; nothing but that is timed.

Settings: as of `sb3_sampling`; `envs` and `steps` are those of each EnvRunner.
"""

from typing import Any

import gymnasium
import numpy as np
import ray
from environments import is_atari, make_env
from private_ray import private_ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.tune.registry import register_env
from serve import Measure, Settings, repeated, serve

RUNNERS = 2


def as_rllib_takes_it(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Images channels last and as numbers from 0 to 1: its networks take no bytes."""
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    return gymnasium.wrappers.TransformObservation(
        env,
        lambda image: np.moveaxis(image, 0, -1).astype(np.float32) / 255,
        gymnasium.spaces.Box(0, 1, (*space.shape[1:], space.shape[0]), np.float32),
    )


def model_of(settings: Settings) -> DefaultModelConfig:
    if not is_atari(settings["env"]):
        return DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh")
    cnn = settings["cnn"]
    return DefaultModelConfig(
        conv_filters=cnn["convolutions"],
        conv_activation="relu",
        head_fcnet_hiddens=[cnn["width"]],
        head_fcnet_activation="relu",
        vf_share_layers=True,
    )


def prepare(settings: Settings) -> dict[str, Measure]:
    env_id = settings["env"]
    private_ray(RUNNERS)
    name = env_id
    if is_atari(env_id):
        name = "images"
        register_env(name, lambda config: as_rllib_takes_it(make_env(env_id)))
    config = (
        PPOConfig()
        .environment(name)
        .env_runners(
            num_env_runners=RUNNERS,
            num_envs_per_env_runner=settings["envs"],
            rollout_fragment_length=settings["steps"],
        )
        .learners(num_learners=0)
        .fault_tolerance(restart_failed_env_runners=False)  # what fails is to be heard of
        .training(train_batch_size_per_learner=RUNNERS * settings["envs"] * settings["steps"])
        .rl_module(model_config=model_of(settings))
        .debugging(log_level="ERROR")
    )
    runners: Any = config.build_algo().env_runner_group

    def collect() -> float:
        episodes: Any = synchronous_parallel_sample(worker_set=runners, _uses_new_env_runners=True)
        return float(sum(len(episode) for episode in episodes))

    collect()
    return {"steps": repeated(collect)}


if __name__ == "__main__":
    try:
        serve(prepare)
    finally:
        ray.shutdown()

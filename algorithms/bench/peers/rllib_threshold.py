"""RLlib (new API stack) trained to a threshold with the settings of its tuned examples
(`rllib/examples/algorithms/ppo/cartpole_ppo.py`, `.../sac/pendulum_sac.py`).

The first asks for four EnvRunners and a learner of its own: on two cores it has two, and learns in
its main process. Settings: `env`, `seed`, `threshold`, `limit_s`.
"""

from typing import Any

import numpy as np
import ray
from private_ray import private_ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from reached import Reached, report
from serve import Settings
from torch import nn

RETURNS = "ended_returns"
RUNNERS = 2


def note_return(*, episode: Any, env_runner: Any, metrics_logger: Any, **others: Any) -> None:
    """Have an EnvRunner report every finished episode, not a mean of its own.

    `episode` holds the steps of the current call alone: the runner keeps those of earlier ones.
    """
    earlier = env_runner._ongoing_episodes_for_metrics.get(episode.id_, ())
    total = episode.get_return() + sum(part.get_return() for part in earlier)
    metrics_logger.log_value(RETURNS, total, reduce="item_series")


def cartpole_ppo() -> AlgorithmConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=RUNNERS, num_envs_per_env_runner=16)
        .learners(num_learners=0)
        .training(lr=0.0003, num_epochs=6, vf_loss_coeff=0.01)
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[32], fcnet_activation="linear", vf_share_layers=True
            )
        )
    )


def pendulum_sac() -> AlgorithmConfig:
    return (
        SACConfig()
        .environment("Pendulum-v1")
        .training(
            initial_alpha=1.001,
            actor_lr=2e-4,
            critic_lr=8e-4,
            alpha_lr=9e-4,
            lr=None,
            target_entropy="auto",
            n_step=(2, 5),
            tau=0.005,
            train_batch_size_per_learner=256,
            target_network_update_freq=1,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 100_000,
                "alpha": 1.0,
                "beta": 0.0,
            },
            num_steps_sampled_before_learning_starts=256,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[256, 256],
                fcnet_activation="relu",
                fcnet_kernel_initializer=nn.init.xavier_uniform_,
                head_fcnet_hiddens=[],
                head_fcnet_activation=None,  # type: ignore[arg-type]
                head_fcnet_kernel_initializer="orthogonal_",
                head_fcnet_kernel_initializer_kwargs={"gain": 0.01},
            )
        )
    )


CONFIGS = {"CartPole-v1": cartpole_ppo, "Pendulum-v1": pendulum_sac}


def train(settings: Settings) -> dict[str, Any]:
    private_ray(RUNNERS)
    config = CONFIGS[settings["env"]]().debugging(seed=settings["seed"], log_level="ERROR")
    algorithm = config.callbacks(on_episode_end=note_return).build_algo()
    reached, env_steps = Reached(settings["threshold"], settings["limit_s"]), 0
    while not reached.over:
        found = algorithm.train()["env_runners"]
        env_steps = int(found["num_env_steps_sampled_lifetime"])
        # A series of one comes as that one, and none at all as nan or not at all.
        returns = np.atleast_1d(found.get(RETURNS, np.nan))
        reached.take_in(returns[~np.isnan(returns)].tolist())
    record: dict[str, Any] = reached.record(env_steps)
    algorithm.stop()
    return record


if __name__ == "__main__":
    try:
        report(train)
    finally:
        ray.shutdown()

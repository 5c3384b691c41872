"""RLlib's SAC (new API stack) updating from a full replay buffer as its training step does:
sample, update, set priorities. And apart: its learner on batches made beforehand, and its buffer's
sampling.

Settings: as of `sb3_update`. The buffer is the one that RLlib's SAC has by default, prioritised.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from private_ray import private_ray
from random_replay import Shapes, transitions
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.replay_buffers.utils import update_priorities_in_episode_replay_buffer
from ray.tune.registry import register_env
from serve import Measure, Settings, repeated, serve

REPLAYED = 256
EPISODE = 1000
TD_ERROR = "td_error"


def make_algorithm(settings: Settings) -> Any:
    register_env("shapes", lambda config: Shapes(settings["seen"], settings["acted"]))
    config = (
        SACConfig()
        .environment("shapes")
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(replay_buffer_config={"capacity": settings["capacity"]})
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=settings["hidden"], fcnet_activation="relu", head_fcnet_hiddens=[]
            )
        )
        .debugging(log_level="ERROR")
    )
    return config.build_algo()


def episodes_of(drawn: dict[str, Any], capacity: int) -> list[SingleAgentEpisode]:
    """The transitions as finished episodes of equal length."""
    found = []
    for first in range(0, capacity, EPISODE):
        last = first + EPISODE
        found.append(
            SingleAgentEpisode(
                observations=list(drawn["observations"][first : last + 1]),
                actions=list(drawn["actions"][first:last]),
                rewards=drawn["rewards"][first:last].tolist(),
                infos=[{} for _ in range(EPISODE + 1)],
                truncated=True,
                len_lookback_buffer=0,
            ).to_numpy()
        )
    return found


def learner_batch(drawn: dict[str, Any], batch: int) -> MultiAgentBatch:
    """What RLlib's connectors make of a sample, as tensors."""
    rows = {
        Columns.OBS: drawn["observations"][:batch],
        Columns.NEXT_OBS: drawn["observations"][1 : batch + 1],
        Columns.ACTIONS: drawn["actions"][:batch],
        Columns.REWARDS: drawn["rewards"][:batch],
        Columns.TERMINATEDS: np.zeros(batch, np.float32),
        Columns.TRUNCATEDS: np.zeros(batch, np.float32),
        "weights": np.ones(batch, np.float32),
        "n_step": np.ones(batch, np.float32),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(row)) for name, row in rows.items()}
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(tensors)}, batch)


def td_errors(results: Sequence[Any]) -> dict[str, Any]:
    """What the buffer takes as new priorities."""
    return {
        DEFAULT_MODULE_ID: {
            TD_ERROR: np.concatenate(
                [part for one in results for part in one[DEFAULT_MODULE_ID][TD_ERROR].peek()]
            )
        }
    }


def prepare(settings: Settings) -> dict[str, Measure]:
    private_ray(1)
    algorithm = make_algorithm(settings)
    torch.set_num_threads(settings["threads"])
    buffer, learners = algorithm.local_replay_buffer, algorithm.learner_group
    drawn = transitions(settings["capacity"], settings["seen"], settings["acted"])
    buffer.add(episodes_of(drawn, settings["capacity"]))
    steps = {"num_env_steps_sampled_lifetime": settings["capacity"]}

    def sample(batch: int) -> Any:
        return buffer.sample(
            num_items=batch, n_step=1, gamma=0.99, beta=0.4, batch_length_T=0, sample_episodes=True
        )

    def update(batch: int) -> float:
        results = learners.update(episodes=sample(batch), timesteps=steps)
        update_priorities_in_episode_replay_buffer(
            replay_buffer=buffer, td_errors=td_errors(results)
        )
        return 1.0

    def learn(batch: MultiAgentBatch) -> float:
        learners.update(batch=batch, timesteps=steps)
        return 1.0

    def replay() -> float:
        sample(REPLAYED)
        return 1.0

    measures = {"prioritised": repeated(replay)}
    for size in settings["batches"]:
        measures[f"batch {size}"] = repeated(partial(update, size))
        measures[f"batch {size}, learner alone"] = repeated(
            partial(learn, learner_batch(drawn, size))
        )
    return measures


if __name__ == "__main__":
    try:
        serve(prepare)
    finally:
        ray.shutdown()

"""Stable-Baselines3's SAC updating from a full replay buffer, and that buffer's sampling alone.

Settings: `seen` and `acted` (widths), `hidden`, `capacity`, `threads`, `batches`.
"""

from functools import partial
from typing import Any

import torch
from random_replay import Shapes, transitions
from serve import Measure, Settings, repeated, serve
from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure

REPLAYED = 256


def make_model(settings: Settings) -> Any:
    """SAC with a replay buffer full of random transitions."""
    model = SAC(
        "MlpPolicy",
        Shapes(settings["seen"], settings["acted"]),
        buffer_size=settings["capacity"],
        policy_kwargs={"net_arch": settings["hidden"]},
        seed=0,
        device="cpu",
    )
    model.set_logger(configure(format_strings=[]))
    drawn = transitions(settings["capacity"], settings["seen"], settings["acted"])
    buffer = model.replay_buffer
    buffer.observations[:, 0] = drawn["observations"][:-1]
    buffer.next_observations[:, 0] = drawn["observations"][1:]
    buffer.actions[:, 0] = drawn["actions"]
    buffer.rewards[:, 0] = drawn["rewards"]
    buffer.full = True
    return model


def prepare(settings: Settings) -> dict[str, Measure]:
    torch.set_num_threads(settings["threads"])
    model = make_model(settings)

    def update(batch: int, times: int) -> float:
        model.train(gradient_steps=times, batch_size=batch)
        return float(times)

    def replay() -> float:
        model.replay_buffer.sample(REPLAYED)
        return 1.0

    measures = {
        f"batch {batch}": repeated(partial(update, batch, 1)) for batch in settings["batches"]
    }
    return {**measures, "uniform": repeated(replay)}


if __name__ == "__main__":
    serve(prepare)

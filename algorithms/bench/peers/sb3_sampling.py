"""Stable-Baselines3 collecting rollouts for PPO, in one process; nothing but that is timed.

Settings: `env`, `envs`, `steps` (of a rollout, each environment), `threads` and, for images, `cnn`
with `convolutions` [[channels, kernel, stride], ...] and `width`.
"""

from functools import partial
from typing import Any

import torch
from environments import is_atari, make_env
from serve import Measure, Settings, repeated, serve
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor


class SmallCnn(BaseFeaturesExtractor):  # type: ignore[misc]
    """Convolutions and one dense layer over channels-first images that SB3 has scaled to [0, 1]."""

    def __init__(self, space: Any, convolutions: list[list[int]], width: int) -> None:
        super().__init__(space, width)
        layers: list[torch.nn.Module] = []
        channels = space.shape[0]
        for outputs, kernel, stride in convolutions:
            layers += [torch.nn.Conv2d(channels, outputs, kernel, stride), torch.nn.ReLU()]
            channels = outputs
        convolved = torch.nn.Sequential(*layers, torch.nn.Flatten())
        with torch.no_grad():
            size = convolved(torch.zeros(1, *space.shape)).shape[1]
        self.layers = torch.nn.Sequential(convolved, torch.nn.Linear(size, width), torch.nn.ReLU())

    def forward(self, observations: torch.Tensor) -> Any:
        return self.layers(observations)


def convolutional(cnn: Settings) -> Settings:
    """The arguments of a policy with such a network, which actor and critic share."""
    return {
        "features_extractor_class": SmallCnn,
        "features_extractor_kwargs": cnn,
        "net_arch": [],
    }


def make_model(settings: Settings) -> Any:
    env = make_vec_env(partial(make_env, settings["env"]), settings["envs"], seed=0)
    if not is_atari(settings["env"]):
        return PPO("MlpPolicy", env, n_steps=settings["steps"], seed=0, device="cpu")
    policy = convolutional(settings["cnn"])
    return PPO(
        "CnnPolicy", env, n_steps=settings["steps"], policy_kwargs=policy, seed=0, device="cpu"
    )


def prepare(settings: Settings) -> dict[str, Measure]:
    torch.set_num_threads(settings["threads"])
    model = make_model(settings)
    _, callback = model._setup_learn(total_timesteps=10**9, callback=None)

    def collect() -> float:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
        return float(model.n_steps * model.n_envs)

    collect()
    return {"steps": repeated(collect)}


if __name__ == "__main__":
    serve(prepare)

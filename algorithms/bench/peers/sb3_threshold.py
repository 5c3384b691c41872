"""Stable-Baselines3 trained to a threshold with the settings that RL Baselines3 Zoo has for it.

Settings: `env`, `seed`, `threshold`, `limit_s`.
"""

from typing import Any

from environments import make_env
from reached import Reached, report
from serve import Settings
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

ZOO_CARTPOLE_STEPS = 100_000
FAR = 10_000_000


class Watch(BaseCallback):  # type: ignore[misc]
    """Ends the training when the threshold is reached."""

    def __init__(self, reached: Reached) -> None:
        super().__init__()
        self._reached = reached

    def _on_step(self) -> bool:
        ended = (info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        self._reached.take_in(ended)
        return not self._reached.over


def cartpole_ppo(seed: int) -> tuple[Any, int]:
    """The model, and for how many steps its schedules are made."""
    model = PPO(
        "MlpPolicy",
        make_vec_env(lambda: make_env("CartPole-v1"), 8, seed=seed),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        learning_rate=lambda left: left * 1e-3,
        clip_range=lambda left: left * 0.2,
        seed=seed,
        device="cpu",
    )
    return model, ZOO_CARTPOLE_STEPS


def pendulum_sac(seed: int) -> tuple[Any, int]:
    """The same for SAC, which has no schedule: it may go on for longer than the zoo's 20,000."""
    env = make_vec_env(lambda: make_env("Pendulum-v1"), 1, seed=seed)
    return SAC("MlpPolicy", env, learning_rate=1e-3, seed=seed, device="cpu"), FAR


MODELS = {"CartPole-v1": cartpole_ppo, "Pendulum-v1": pendulum_sac}


def train(settings: Settings) -> dict[str, Any]:
    model, steps = MODELS[settings["env"]](settings["seed"])
    reached = Reached(settings["threshold"], settings["limit_s"])
    model.learn(steps, callback=Watch(reached))
    steps_taken: int = model.num_timesteps
    return reached.record(steps_taken)


if __name__ == "__main__":
    report(train)

"""Stable-Baselines3 trained with a job's own settings, for as many steps or as long.

Settings: `env`, `seed`, `env_steps` and `wall_s` (null: no end), `envs`, `algorithm` (as a job file
has it), for images `cnn` (as in `sb3_sampling`), `episodes` of the evaluation at the end, and of
the training's last mean.
"""

from fractions import Fraction
from time import perf_counter
from typing import Any

from environments import is_atari, make_env
from reached import report
from sb3_sampling import convolutional
from serve import Settings
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import nn

FAR = 100_000_000


class Watch(BaseCallback):  # type: ignore[misc]
    """Keeps the returns of training episodes; ends the training when the time is over."""

    def __init__(self, wall_s: float | None) -> None:
        super().__init__()
        self._wall_s = wall_s
        self.began = perf_counter()
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return self._wall_s is None or perf_counter() - self.began < self._wall_s


def sac(settings: Settings, env: Any) -> Any:
    """With as many gradient steps a transition. Stops where SB3 has nothing of the kind."""
    own, ratio = settings["algorithm"], settings["algorithm"]["updates_per_step"]
    if ratio is None or own["n_step"] != 1 or own["prioritized"]:
        raise SystemExit("SB3's SAC has a ratio of updates to steps, n_step 1, uniform replay")
    a_round = Fraction(ratio).limit_denominator(1000) * settings["envs"]
    return SAC(
        "MlpPolicy",
        env,
        learning_rate=own["learning_rate"],
        batch_size=own["batch_size"],
        buffer_size=own["buffer_size"],
        learning_starts=own["learning_starts"],
        gamma=own["gamma"],
        tau=own["tau"],
        train_freq=a_round.denominator,
        gradient_steps=a_round.numerator,
        ent_coef=own["alpha"],
        target_entropy=own["target_entropy"],
        policy_kwargs=networks(own),
        seed=settings["seed"],
        device="cpu",
    )


def ppo(settings: Settings, env: Any) -> Any:
    """With the same networks: for images one for both actor and critic."""
    own, steps = settings["algorithm"], settings["schedule_steps"]

    def falls(start: float) -> Any:
        """SB3's own schedule reckons with `learn`'s steps, which here never come."""
        return lambda left: start * max(0.0, 1 - (1 - left) * FAR / steps)

    def scheduled(start: float) -> Any:
        return falls(start) if own["schedule"] == "linear" else start

    images = is_atari(settings["env"])
    return PPO(
        "CnnPolicy" if images else "MlpPolicy",
        env,
        learning_rate=scheduled(own["learning_rate"]),
        n_steps=own["rollout_steps"],
        batch_size=own["minibatch_size"],
        n_epochs=own["epochs"],
        gamma=own["gamma"],
        gae_lambda=own["gae_lambda"],
        clip_range=scheduled(own["clip"]),
        ent_coef=own["entropy_coef"],
        vf_coef=own["value_coef"] / 2,  # of the squared error; ours is of half of it
        max_grad_norm=own["max_grad_norm"],
        policy_kwargs=convolutional(settings["cnn"]) if images else networks(own),
        seed=settings["seed"],
        device="cpu",
    )


def networks(own: Settings) -> Settings:
    """Those of actor and critic, as SB3 names them."""
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[own["activation"]]
    return {"net_arch": list(own["hidden"]), "activation_fn": activation}


def train(settings: Settings) -> dict[str, Any]:
    """The record of one run."""
    env = make_vec_env(lambda: make_env(settings["env"]), settings["envs"], seed=settings["seed"])
    model = {"sac": sac, "ppo": ppo}[settings["algorithm"]["name"]](settings, env)
    watch = Watch(settings["wall_s"])
    model.learn(settings["env_steps"] or FAR, callback=watch)
    train_s = perf_counter() - watch.began
    episodes = settings["episodes"]
    fresh = make_vec_env(lambda: make_env(settings["env"]), 1, seed=settings["seed"] + 1000)
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=episodes)
    newest = watch.returns[-episodes:]
    return {
        "env_steps": model.num_timesteps,
        "train_s": train_s,
        "training_return": sum(newest) / len(newest) if newest else None,
        "evaluation_return": float(mean),
    }


if __name__ == "__main__":
    report(train)

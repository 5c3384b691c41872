"""An RLlib configuration made of a job file's section.

Its functions import RLlib, which takes seconds: only the process that trains or acts calls them.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import JsonValue

from covey.algorithms.parts import env_source
from covey.algorithms.rllib_env import RllibEnv
from covey.algorithms.rllib_resources import Shares
from covey.algorithms.rllib_section import RllibSection
from covey.envs.make import EnvSource
from covey.platform.errors import UserError
from covey.platform.jobfile.model import JobFile
from covey.platform.jobfile.words import one_line

ENV_NAME = "covey"
EPISODES = "covey_episodes"
ENV_STEPS = "covey_env_steps"
ITERATION_S = 1
"""How long an iteration of many small updates lasts: a request to stop waits for its end.

RLlib's own way is 10 s for APPO and 1000 environment steps for DQN, half a minute or more.
"""


@dataclass(frozen=True)
class Order:
    """All that is needed to build the algorithm of a job. `seed` differs from attempt to
    attempt.
    """

    algorithm: str
    config: Mapping[str, JsonValue]
    source: EnvSource
    seed: int
    shares: Mapping[str, float]
    threads: int


def order(job: JobFile, shares: Shares, seed: int) -> Order:
    """The order of a resolved job."""
    section: RllibSection = job.section
    return Order(
        section.algorithm,
        section.config,
        env_source(job),
        seed,
        shares.config,
        threads=max(1, int(shares.main.get("CPU", 0))),
    )


def make_config(wanted: Order) -> Any:
    """RLlib's configuration, checked by RLlib itself. UserError with its words when it refuses."""
    from ray.tune.registry import register_env

    for name in ("ray.rllib", "ray._common.deprecation"):  # "You are running on the new API stack!"
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RLlib registers test environments with faulty spaces
        module = import_module(f"ray.rllib.algorithms.{wanted.algorithm.lower()}")
    source = wanted.source
    register_env(ENV_NAME, lambda _: RllibEnv(source))
    config = getattr(module, wanted.algorithm).get_default_config()
    settings: dict[str, Any] = dict(wanted.config)
    try:
        if "model_config" in settings:
            config.rl_module(model_config=settings.pop("model_config"))
        if config.min_time_s_per_iteration or config.min_sample_timesteps_per_iteration:
            config.reporting(
                min_time_s_per_iteration=ITERATION_S, min_sample_timesteps_per_iteration=0
            )
        config.update_from_dict({**settings, **wanted.shares})
        config.environment(ENV_NAME).debugging(seed=wanted.seed)
        config.callbacks(on_sample_end=note_episodes)
        config.validate()
    except Exception as error:
        raise refused(wanted.algorithm, error) from error
    return config


def refused(algorithm: str, error: BaseException) -> UserError:
    """What RLlib has against a configuration, in one line."""
    for cause in chain(error):
        if isinstance(cause, UserError):
            return cause
    reason = one_line(str(error)).partition(" To suppress all validation errors")[0]
    return UserError(f"rllib.config: RLlib's {algorithm} refuses it: {reason}")


def chain(error: BaseException) -> list[BaseException]:
    """An error and those it came from, the outermost first."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = getattr(following, "cause", None) or following.__cause__
    return found


def note_episodes(*, env_runner: Any, metrics_logger: Any, samples: list[Any], **_: Any) -> None:
    """RLlib calls this with the pieces of episodes that an env runner has just collected.

    RLlib's own mean mixes the windows of its env runners, so ours is taken of the episodes
    themselves: an episode's pieces are added up until its end.
    """
    under_way: dict[str, tuple[float, int]] = getattr(env_runner, EPISODES, {})
    setattr(env_runner, EPISODES, under_way)
    for piece in samples:
        total, length = under_way.pop(piece.id_, (0.0, 0))
        total, length = total + float(piece.get_return()), length + len(piece)
        if piece.is_done:
            metrics_logger.log_value(EPISODES, (total, length), reduce="item_series")
        else:
            under_way[piece.id_] = (total, length)
    metrics_logger.log_value(ENV_STEPS, sum(map(len, samples)), reduce="sum")

"""The algorithms a job file can name: one line each."""

from typing import Annotated

from pydantic import Field

from covey.algorithms.appo import APPOConfig
from covey.algorithms.dqn import DQNConfig
from covey.algorithms.impala import ImpalaConfig
from covey.algorithms.maddpg import MADDPGConfig
from covey.algorithms.ppo import PPOConfig
from covey.algorithms.sac import SACConfig

AlgorithmConfig = Annotated[
    APPOConfig | DQNConfig | ImpalaConfig | MADDPGConfig | PPOConfig | SACConfig,
    Field(discriminator="name"),
]

"""Ape-X (Horgan et al. 2018): deep Q-learning with many samplers, each environment exploring at a
rate of its own, and transitions that come with a first priority: configuration.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from covey.algorithms.dqn import DeepQConfig
from covey.algorithms.policy_rating import RatingGreedyPolicy
from covey.algorithms.replay_config import Fraction
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, JobFile, Positive, Section
from covey.platform.runtime.interfaces import ActingPolicy
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec


class ReplayShards(Section):
    """Where a prioritised replay is kept."""

    shards: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="processes that keep the replay, each the streams of its share of the samplers,"
        " and draw ahead for the learner; 0: the learner does. By default 1 beside samplers of "
        "their own, and 0 where everything is in one process or every step is to be repeated",
    )


class ApexConfig(DeepQConfig):
    """Settings of `algorithm: {name: apex}`. Where the paper says (section 4.1 and appendix D),
    defaults are the paper's.
    """

    name: Literal["apex"]
    learning_rate: Positive = Field(default=1e-4, description="Adam's step size")
    batch_size: Count = Field(default=512, description="transitions in one gradient step")
    buffer_size: Count = Field(
        default=1_000_000, description="transitions kept, the newest ones, in all samplers' rings"
    )
    learning_starts: Count = Field(
        default=10_000, description="transitions before the first gradient step"
    )
    updates_per_step: Positive | None = Field(
        default=None,
        description="gradient steps a transition; null: as fast as the learner can, and no sampler "
        "waits",
    )
    block_steps: Count = Field(
        default=50, description="steps of each environment between two looks at newer weights"
    )
    target_every: Count = Field(
        default=2500, description="gradient steps between two copies to the target network"
    )
    dueling: bool = Field(
        default=True, description="a state's value and the actions' advantages apart"
    )
    n_step: Count = Field(
        default=3, description="rewards summed before the value function takes over"
    )
    prioritized: bool = Field(
        default=True, description="sample in proportion to temporal-difference errors"
    )
    max_grad_norm: Positive = Field(
        default=40.0, description="longer gradients are shortened to this"
    )
    epsilon: Fraction = Field(
        default=0.4,
        description="share of random actions in the first of all environments; in environment i of "
        "N it is epsilon**(1 + epsilon_exponent * i / (N - 1))",
    )
    epsilon_exponent: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=7.0, description="how much less the last environment explores than the first"
    )
    replay: ReplayShards = ReplayShards()

    @property
    def shards(self) -> int:
        """Processes that keep the replay, where there can be any."""
        return 1 if self.replay.shards is None else self.replay.shards

    def check(self, job: JobFile) -> None:
        super().check(job)
        if not self.replay.shards:
            return
        key, samplers = ("rl", "algorithm", "replay", "shards"), most_samplers(job)
        if job.deterministic:
            raise KeyProblem(
                key, "what shards draw ahead depends on the clock; a job that repeats needs 0"
            )
        if not samplers:
            raise KeyProblem(
                key,
                "they are Ray actors, but this job is all in one process; give resources.cpus: 2"
                " or more, or rl.sampling.samplers: 1",
            )
        if self.replay.shards > samplers:
            raise KeyProblem(
                key, f"{self.replay.shards} shards cannot share the streams of {samplers} samplers"
            )

    def exploration(self, env_steps: int) -> float:
        """That of the first environment, always."""
        return self.epsilon

    def exponents(self, first: int, count: int, total: int) -> NDArray[np.float64]:
        """Of `epsilon` in environments `first` to `first + count` of `total`."""
        environments = np.arange(first, first + count)
        return 1.0 + self.epsilon_exponent * environments / max(1, total - 1)

    def make_exploring_policy(
        self, spaces: Spaces, first: int, count: int, total: int
    ) -> ActingPolicy:
        """What a sampler of these environments acts with; agents of one share its rate."""
        return RatingGreedyPolicy(
            spaces,
            self.acting_values(spaces),
            np.repeat(self.exponents(first, count, total), spaces.agents),
            dueling=self.dueling,
            gamma=self.gamma,
            steps=self.n_step,
        )

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """See `ReplayConfig`; with the errors that priorities begin with."""
        return replace(super().stream_spec(columns, streams, spaces), td_errors=self.prioritized)


def most_samplers(job: JobFile) -> int:
    """Sampler actors that a job may have; 0 stands for everything in one process."""
    from covey.algorithms.auto_sampling import resolve_sampling  # which leans on all algorithms

    samplers = resolve_sampling(job.section.sampling, job.resources.cpus).samplers
    assert not isinstance(samplers, str)
    return samplers if isinstance(samplers, int) else samplers.max

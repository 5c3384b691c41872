"""Asynchronous proximal policy optimisation: samplers never wait for the learner. V-trace corrects
from the policy that acted to the one that an update begins with, and PPO's ratio is clipped around
that one (the decoupled objective of Hilton et al. 2022, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from covey.algorithms.actor_critic import Fraction
from covey.algorithms.impala import AsynchronousConfig
from covey.platform.jobfile.model import Count, Positive
from covey.platform.runtime.spaces import Spaces

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from covey.algorithms.corrected_learner import CorrectedLearner


class APPOConfig(AsynchronousConfig):
    """Settings of `algorithm: {name: appo}`."""

    name: Literal["appo"]
    rollout_steps: Count = Field(
        default=64, description="steps of each environment between two looks at newer weights"
    )
    trace_lambda: Fraction = Field(
        default=0.95, description="0 trusts the value function, 1 the returns"
    )
    minibatch_size: Count = Field(default=256, description="transitions in one gradient step")
    epochs: Count = Field(default=4, description="passes over the transitions of one update")
    clip: Positive = Field(default=0.2, description="how far the probability ratio may leave 1")

    def one_learner(self, spaces: Spaces, root_seed: int, threads: int) -> CorrectedLearner:
        from covey.algorithms.corrected_learner import CorrectedLearner

        return CorrectedLearner(self, spaces, root_seed, threads)

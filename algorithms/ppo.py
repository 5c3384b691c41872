"""Proximal policy optimisation (Schulman et al. 2017): configuration. The learner is
`ppo_learner.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from covey.algorithms.actor_critic import ActorCriticConfig, Fraction
from covey.algorithms.learner import Learner
from covey.algorithms.on_policy import OnPolicyTurn
from covey.algorithms.turn import Channels
from covey.platform.jobfile.model import Count, Positive
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from covey.algorithms.ppo_learner import PPOLearner


class PPOConfig(ActorCriticConfig):
    """Settings of `algorithm: {name: ppo}`."""

    name: Literal["ppo"]
    minibatch_size: Count = Field(default=256, description="transitions in one gradient step")
    epochs: Count = Field(default=10, description="passes over the transitions of one update")
    gae_lambda: Fraction = Field(
        default=0.95, description="0 trusts the value function, 1 the returns"
    )
    clip: Positive = Field(default=0.2, description="how far the probability ratio may leave 1")
    target_kl: Positive | None = Field(
        default=None,
        description="an update ends early once the policy has moved 1.5 times this far",
    )

    takes_turns: ClassVar = True
    """Whether samplers rest while the learner works."""
    shares_work: ClassVar = "parts"
    """What a pool of workers can compute of it: the "parts" of a gradient, "agents", or nothing."""

    def one_learner(self, spaces: Spaces, root_seed: int, threads: int) -> PPOLearner:
        from covey.algorithms.ppo_learner import PPOLearner

        return PPOLearner(self, spaces, root_seed, threads)

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """One block is read while the next is written."""
        return StreamSpec(self.rollout_steps, 2, columns, spaces, overwrite=False)

    def make_turn(self, learner: Learner, channels: Channels) -> OnPolicyTurn:
        """What one iteration does."""
        return OnPolicyTurn(learner, channels)

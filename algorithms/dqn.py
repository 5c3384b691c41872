"""Deep Q-learning (Mnih et al. 2015) with double targets (van Hasselt et al. 2016), a dueling head
(Wang et al. 2016), n-step returns and prioritised replay: configuration. The learner is
`dqn_learner.py`; `apex.py` is the form for many samplers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from covey.algorithms.perceptron import Perceptron
from covey.algorithms.policy_greedy import GreedyPolicy, Values
from covey.algorithms.replay_config import BatchSize, Fraction, ReplayConfig
from covey.platform.jobfile.model import Count, Positive
from covey.platform.runtime.interfaces import ActingPolicy
from covey.platform.runtime.spaces import Spaces

if TYPE_CHECKING:  # numba and torch are heavy: they wait until a learner is made
    from covey.algorithms.dqn_learner import DQNLearner


class DeepQConfig(ReplayConfig):
    """Settings shared by `algorithm: {name: dqn}` and `{name: apex}`."""

    name: str
    batch_size: BatchSize = Field(
        default=64, description="transitions in one gradient step; auto: as for sac"
    )
    buffer_size: Count = Field(
        default=100_000, description="transitions kept, the newest ones, in all samplers' rings"
    )
    learning_starts: Count = Field(
        default=1000, description="transitions before the first gradient step"
    )
    updates_per_step: Positive | None = Field(
        default=0.5,
        description="gradient steps a transition; null: as fast as the learner can, and no sampler "
        "waits",
    )
    target_every: Count = Field(
        default=250, description="gradient steps between two copies to the target network"
    )
    double: bool = Field(
        default=True, description="the trained network chooses the next action, the target rates it"
    )
    dueling: bool = Field(
        default=False, description="a state's value and the actions' advantages apart"
    )
    max_grad_norm: Positive = Field(
        default=10.0, description="longer gradients are shortened to this"
    )

    shares_rows: ClassVar = True

    def exploration(self, env_steps: int) -> float:
        """The share of random actions after so many environment steps."""
        raise NotImplementedError

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> DQNLearner:
        """The learner of a job, or of an actor of it. UserError unless actions are discrete."""
        from covey.algorithms.dqn_learner import DQNLearner

        return DQNLearner(self, spaces, root_seed, threads)

    def make_policy(self, spaces: Spaces) -> ActingPolicy:
        """What samplers and evaluators act with."""
        return GreedyPolicy(spaces, self.acting_values(spaces))

    def acting_values(self, spaces: Spaces) -> Values:
        """The network's forward pass for those who act, without weights yet."""
        if spaces.observation.is_image:
            from covey.algorithms.q_image import ImageValues

            return ImageValues(spaces, self.hidden, self.activation, self.dueling)
        return Perceptron("q", self.activation)


class DQNConfig(DeepQConfig):
    """Settings of `algorithm: {name: dqn}`."""

    name: Literal["dqn"]
    epsilon_start: Fraction = Field(default=1.0, description="share of random actions at first")
    epsilon_end: Fraction = Field(default=0.05, description="and in the end")
    epsilon_steps: Count = Field(
        default=10_000, description="transitions until then; in between it falls linearly"
    )

    def exploration(self, env_steps: int) -> float:
        left = max(0.0, 1.0 - env_steps / self.epsilon_steps)
        return self.epsilon_end + (self.epsilon_start - self.epsilon_end) * left

"""What the algorithms that learn a policy and a value function from fresh rollouts have in common
in a job file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.algorithms.learner import Learner, LearnerState
from covey.algorithms.normalizer import RunningMoments
from covey.algorithms.policy import MlpPolicy, acting_arrays
from covey.algorithms.separate import SeparateLearners, SeparatePolicies, joined, states_of
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, JobFile, Positive, Section
from covey.platform.runtime.interfaces import ActingPolicy, Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.seeds import derive_int

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from covey.algorithms.ppo_learner import PPOLearner

Fraction = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ActorCriticConfig(Section):
    """Settings shared by `algorithm: {name: ppo}`, `{name: appo}` and `{name: impala}`."""

    learning_rate: Positive = Field(default=3e-4, description="Adam's step size")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="linear: learning_rate and clip fall to 0 at stop.env_steps"
    )
    rollout_steps: Count = Field(
        default=256, description="steps of each environment between two updates"
    )
    gamma: Fraction = Field(default=0.99, description="discount of later rewards, per step")
    entropy_coef: Coefficient = Field(
        default=0.0, description="weight of the policy's entropy in the loss"
    )
    value_coef: Coefficient = Field(default=0.5, description="weight of the value loss")
    max_grad_norm: Positive = Field(
        default=0.5, description="longer gradients are shortened to this"
    )
    normalize_observations: bool = Field(
        default=True, description="to mean 0, variance 1 of all seen"
    )
    normalize_returns: bool = Field(
        default=False, description="scale rewards by the return's deviation"
    )
    normalize_advantages: bool = Field(
        default=True, description="to mean 0, variance 1 a minibatch"
    )
    hidden: tuple[Count, ...] = Field(default=(64, 64), description="widths of the hidden layers")
    activation: Literal["tanh", "relu"] = "tanh"
    share_torso: bool = Field(
        default=False, description="one set of hidden layers for policy and value"
    )
    policies: Literal["shared", "separate"] = Field(
        default="shared", description="one for all agents of an environment, or one for each"
    )
    threads: Count | None = Field(default=None, description="of the learner; by default one a CPU")

    keeps_rows: ClassVar = False
    """Whether rows are learnt from more than once, so that checkpoints hold them."""
    report_steps: ClassVar = 1
    """In deterministic mode a report comes after so many environment steps: here, every update."""

    def check(self, job: JobFile) -> None:
        """Raise KeyProblem for what cannot go together with the rest of the job."""
        if self.schedule == "linear" and job.stop.env_steps is None:
            raise KeyProblem(
                ("rl", "algorithm", "schedule"),
                "a linear schedule needs stop.env_steps to fall towards",
            )

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> Learner:
        """The learner of a job, or of an actor of it."""
        if not self._separate(spaces):
            return self.one_learner(spaces, root_seed, threads)
        seeds = (derive_int(root_seed, "policy", agent) for agent in range(spaces.agents))
        return SeparateLearners([self.one_learner(spaces, seed, threads) for seed in seeds])

    def one_learner(self, spaces: Spaces, root_seed: int, threads: int) -> PPOLearner:
        """That of one policy."""
        raise NotImplementedError

    def make_policy(self, spaces: Spaces) -> ActingPolicy:
        """What samplers and evaluators act with."""
        if not self._separate(spaces):
            return self._one_policy(spaces)
        return SeparatePolicies([self._one_policy(spaces) for _ in range(spaces.agents)])

    def _separate(self, spaces: Spaces) -> bool:
        return self.policies == "separate" and spaces.agents > 1

    def _one_policy(self, spaces: Spaces) -> ActingPolicy:
        if spaces.observation.is_image:
            from covey.algorithms.image_policy import ImagePolicy

            return ImagePolicy(spaces, self.hidden, self.activation)
        return MlpPolicy(spaces, self.activation)

    def acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        """What the policy loads, of a saved learner."""
        if self._separate(spaces):
            return joined([self._acting_arrays(spaces, own) for own in states_of(learner)])
        return self._acting_arrays(spaces, learner)

    def _acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        observed = None
        if self.normalize_observations and not spaces.observation.is_image:
            observed = RunningMoments(spaces.observation.width)
            observed.restore("observations", learner.normalizer)
        return acting_arrays(learner.model, observed)

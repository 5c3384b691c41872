"""Soft actor-critic (Haarnoja et al. 2018, second version): configuration. The learner is
`sac_learner.py`, its gradients `sac_update.py`; `sac_split.py` is for two processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.algorithms.policy_squashed import SquashedPolicy
from covey.algorithms.replay_config import ReplayConfig
from covey.platform.jobfile.model import Positive
from covey.platform.runtime.spaces import Spaces

if TYPE_CHECKING:  # numba and torch are heavy: they wait until a learner is made
    from covey.algorithms.sac_learner import SACLearner
    from covey.platform.runtime.crew import Crew


class SACConfig(ReplayConfig):
    """Settings of `algorithm: {name: sac}`."""

    name: Literal["sac"]
    tau: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.005, description="how far the target critics move in each step; 1: a copy"
    )
    alpha: Literal["auto"] | Positive = Field(
        default="auto", description="what entropy is worth; auto: learnt, to reach target_entropy"
    )
    target_entropy: Literal["auto"] | float = Field(
        default="auto", description="of the policy, in nats; auto: minus the actions' dimensions"
    )

    shares_rows: ClassVar = True

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> SACLearner:
        """The learner of a job, or of an actor of it. UserError for spaces that SAC cannot take."""
        from covey.algorithms.sac_learner import SACLearner

        return SACLearner(self, spaces, root_seed, threads)

    def make_split_learner(
        self, spaces: Spaces, root_seed: int, threads: int, delay: int, crew: Crew
    ) -> SACLearner:
        """The same with critics in a process that `crew` starts; see `SplitSACLearner`."""
        from covey.algorithms.sac_split import SplitSACLearner

        return SplitSACLearner(self, spaces, root_seed, threads, delay, crew)

    def make_policy(self, spaces: Spaces) -> SquashedPolicy:
        """What samplers and evaluators act with."""
        return SquashedPolicy(spaces, self.activation)

"""IMPALA (Espeholt et al. 2018): samplers never wait for the learner, and V-trace corrects for the
age of the weights they act with. The learner is `impala_learner.py`, its turn `asynchronous.py`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.algorithms.actor_critic import ActorCriticConfig, Fraction
from covey.algorithms.asynchronous import AsynchronousTurn
from covey.algorithms.learner import Learner
from covey.algorithms.turn import Channels
from covey.platform.jobfile.model import Count, Positive
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from covey.algorithms.impala_learner import ImpalaLearner

BLOCKS = 3
"""Of a sampler: one is learnt from, one waits, one is written."""


class AsynchronousConfig(ActorCriticConfig):
    """Settings shared by `algorithm: {name: impala}` and `{name: appo}`."""

    optimizer: Literal["adam", "rmsprop"] = Field(
        default="adam",
        description="rmsprop: steps that grow with the gradient, as in IMPALA's paper",
    )
    rmsprop_epsilon: Positive = Field(
        default=0.01, description="gradients well below it make steps in proportion to them"
    )
    correction: Literal["v-trace", "none"] = Field(
        default="v-trace",
        description="for the age of the weights that acted; none: as if they were the newest",
    )
    rho_bar: Positive = Field(
        default=1.0, description="largest importance weight; it sets whose value is learnt"
    )
    c_bar: Positive = Field(
        default=1.0, description="largest weight of what follows a step; it sets the speed"
    )
    trace_lambda: Fraction = Field(
        default=1.0, description="0 trusts the value function, 1 the returns"
    )
    blocks_per_update: Count | None = Field(
        default=None,
        description="samplers' rollouts in one update, whichever come first; by default as many as "
        "there are samplers",
    )
    max_weight_age: Count = Field(
        default=20, description="updates since the weights that acted; older rollouts are dropped"
    )
    weight_lag: Annotated[int, Field(ge=0)] = Field(
        default=0, description="updates that samplers are kept behind on purpose, to see its cost"
    )

    takes_turns: ClassVar = False
    """Whether samplers rest while the learner works."""
    shares_work: ClassVar = ""
    """Whether its updates can be computed by a coded pool of workers."""
    gae_lambda: ClassVar[float] = 1.0
    target_kl: ClassVar[float | None] = None

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """A sampler that is further ahead waits: what it wrote would be too old."""
        return StreamSpec(self.rollout_steps, BLOCKS, columns, spaces, overwrite=False)

    def make_turn(self, learner: Learner, channels: Channels) -> AsynchronousTurn:
        """What one iteration does."""
        return AsynchronousTurn(
            learner,
            channels,
            blocks=self.blocks_per_update,
            max_age=self.max_weight_age,
            lag=self.weight_lag,
        )


class ImpalaConfig(AsynchronousConfig):
    """Settings of `algorithm: {name: impala}`: one gradient step on each rollout."""

    name: Literal["impala"]
    learning_rate: Positive = Field(default=0.01, description="the optimiser's step size")
    optimizer: Literal["adam", "rmsprop"] = Field(
        default="rmsprop", description="rmsprop: steps that grow with the gradient, as in the paper"
    )
    rollout_steps: Count = Field(
        default=20, description="steps of each environment between two looks at newer weights"
    )
    entropy_coef: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.01, description="weight of the policy's entropy in the loss"
    )
    normalize_advantages: bool = Field(default=False, description="to mean 0, variance 1 an update")

    epochs: ClassVar[int] = 1
    minibatch_size: ClassVar[int] = sys.maxsize
    clip: ClassVar[float] = 1.0
    """Nothing is clipped: in the only step on a rollout the ratio is 1, and its gradient is that of
    the log-probability."""

    def one_learner(self, spaces: Spaces, root_seed: int, threads: int) -> ImpalaLearner:
        from covey.algorithms.impala_learner import ImpalaLearner

        return ImpalaLearner(self, spaces, root_seed, threads)

"""Multi-agent deep deterministic policy gradients (Lowe et al. 2017): configuration. The learner is
`maddpg_learner.py`, an agent's update `maddpg_update.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.algorithms.maddpg_row import Row, acting_arrays, row_of
from covey.algorithms.policy_actor import ActorPolicy
from covey.algorithms.replay_config import BatchSize, ReplayConfig
from covey.algorithms.separate import SeparatePolicies
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, JobFile, Positive
from covey.platform.runtime.interfaces import ActingPolicy, Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec

if TYPE_CHECKING:  # torch is heavy: it waits until a learner is made
    from covey.algorithms.learner import LearnerState
    from covey.algorithms.maddpg_learner import MADDPGLearner
    from covey.algorithms.off_policy import ReplayTurn
    from covey.algorithms.turn import Channels


class MADDPGConfig(ReplayConfig):
    """Settings of `algorithm: {name: maddpg}`. A transition is one of all agents together: so
    `batch_size`, `buffer_size`, `learning_starts` and `updates_per_step` count them.
    """

    name: Literal["maddpg"]
    learning_rate: Positive = Field(default=1e-2, description="Adam's step size")
    batch_size: BatchSize = Field(
        default=1024, description="transitions in one gradient step; auto: as for sac"
    )
    learning_starts: Annotated[int, Field(ge=0)] = Field(
        default=25_600, description="transitions before the first gradient step"
    )
    gamma: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.95, description="discount of later rewards, per step"
    )
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(64, 64), description="widths of the hidden layers"
    )
    updates_per_step: Positive | None = Field(
        default=0.01,
        description="gradient steps a transition after the first learning_starts; null: as fast as "
        "the learner can, and no sampler waits",
    )
    block_steps: Count = Field(
        default=25, description="steps of each environment between two looks at newer weights"
    )
    tau: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.01, description="how far the targets move in each step; 1: a copy"
    )
    max_grad_norm: Positive = Field(
        default=0.5, description="of each variable's gradient; longer ones are shortened to this"
    )
    head_penalty: Annotated[float, Field(ge=0)] = Field(
        default=1e-3, description="weight of the policy head's squares in its loss"
    )
    exploration_noise: Annotated[float, Field(ge=0)] = Field(
        default=0.1, description="deviation of the noise on continuous actions, of half their range"
    )

    shares_work: ClassVar = "agents"

    def check(self, job: JobFile) -> None:
        """Raise KeyProblem for what cannot go together with the rest of the job."""
        super().check(job)
        if self.activation != "relu":
            raise KeyProblem(("rl", "algorithm", "activation"), "maddpg has relu alone")
        for key, only in (("n_step", 1), ("prioritized", False)):
            if getattr(self, key) != only:
                raise KeyProblem(
                    ("rl", "algorithm", key),
                    f"maddpg samples single steps uniformly: {key} is {only}",
                )

    def row(self, spaces: Spaces) -> Row:
        """What each agent's vector holds."""
        return row_of(spaces.agents, spaces.observation.width, spaces.action.width, self.hidden)

    def make_learner(self, spaces: Spaces, root_seed: int, threads: int) -> MADDPGLearner:
        """The learner of a job, or of an actor of it."""
        from covey.algorithms.maddpg_learner import MADDPGLearner

        return MADDPGLearner(self, spaces, root_seed, threads)

    def make_policy(self, spaces: Spaces) -> ActingPolicy:
        """What samplers and evaluators act with."""
        return SeparatePolicies(
            [ActorPolicy(spaces, self.exploration_noise) for _ in range(spaces.agents)]
        )

    def acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        """What the policy loads, of a saved learner."""
        return acting_arrays(learner.model)

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """See `ReplayConfig`; a transition takes a column for each agent."""
        each = self.model_copy(update={"buffer_size": self.buffer_size * spaces.agents})
        return super(MADDPGConfig, each).stream_spec(columns, streams, spaces)

    def make_turn(self, learner: MADDPGLearner, channels: Channels) -> ReplayTurn:  # type: ignore[override]
        """What one iteration does: steps are counted as those of single agents there."""
        from covey.algorithms.off_policy import ReplayTurn

        feed, agents = channels.feed, learner.agents
        ratio = self.updates_per_step
        return ReplayTurn(
            learner,
            learner.memory.open(feed.streams, feed.archives),
            channels,
            updates_per_step=None if ratio is None else ratio / agents,
            learning_starts=self.learning_starts * agents,
            batch_size=self.batch_size * agents,
        )

"""What the algorithms that learn from a replay buffer have in common in a job file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.platform.errors import KeyProblem, UserError
from covey.platform.jobfile.model import Count, JobFile, Positive, Section
from covey.platform.runtime.interfaces import Arrays
from covey.platform.runtime.spaces import Spaces
from covey.platform.runtime.stream import StreamSpec

if TYPE_CHECKING:  # numba and torch are heavy: they wait until a learner is made
    from covey.algorithms.learner import LearnerState
    from covey.algorithms.off_policy import ReplayTurn
    from covey.algorithms.replay_memory import RememberingLearner
    from covey.algorithms.turn import Channels

SPARE_BLOCKS = 8
MOST_BATCH = 8192
"""How far `batch_size: auto` goes."""

Fraction = Annotated[float, Field(ge=0, le=1)]
if TYPE_CHECKING:
    BatchSize = int  # a job file's "auto" is a number to begin with once it is resolved
else:
    BatchSize = Count | Literal["auto"]


class ReplayConfig(Section):
    """Settings shared by `algorithm: {name: sac}` and `{name: dqn}`."""

    learning_rate: Positive = Field(default=3e-4, description="Adam's step size")
    batch_size: BatchSize = Field(
        default=256,
        description="transitions in one gradient step; auto: the default at first, doubled while "
        "more are learnt from a second and no sampler is held up",
    )
    buffer_size: Count = Field(
        default=1_000_000, description="transitions kept, the newest ones, in all samplers' rings"
    )
    learning_starts: Annotated[int, Field(ge=0)] = Field(
        default=100, description="transitions before the first gradient step"
    )
    gamma: Fraction = Field(default=0.99, description="discount of later rewards, per step")
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        default=(256, 256), description="widths of the hidden layers"
    )
    activation: Literal["tanh", "relu"] = "relu"
    updates_per_step: Positive | None = Field(
        default=1.0,
        description="gradient steps a transition after the first learning_starts; null: as fast as "
        "the learner can, and no sampler waits",
    )
    block_steps: Count = Field(
        default=8, description="steps of each environment between two looks at newer weights"
    )
    n_step: Count = Field(
        default=1, description="rewards summed before the value function takes over"
    )
    prioritized: bool = Field(
        default=False, description="sample in proportion to temporal-difference errors"
    )
    priority_alpha: Fraction = Field(
        default=0.6, description="exponent of the priorities; 0: uniform"
    )
    priority_beta: Fraction = Field(
        default=0.4, description="first exponent of the importance weights; it grows to 1"
    )
    threads: Count | None = Field(
        default=None,
        description="of the learner; by default one a CPU that is left beside the samplers",
    )

    keeps_rows: ClassVar = True
    """Whether rows are learnt from more than once, so that checkpoints hold them."""
    takes_turns: ClassVar = False
    """Whether samplers rest while the learner works."""
    shares_work: ClassVar = ""
    """Whether its updates can be computed by a coded pool of workers."""
    shares_rows: ClassVar = False
    """Whether several learners can share each minibatch."""
    report_steps: ClassVar = 1000
    """In deterministic mode a report comes after so many environment steps."""

    @property
    def most_batch(self) -> int:
        """Transitions in a gradient step, that tuning tries."""
        return max(self.batch_size, min(MOST_BATCH, self.buffer_size // 4))

    @property
    def most_environments(self) -> float:
        """Of all samplers, that tuning tries: of each, several blocks fit in the buffer."""
        return self.buffer_size / (4 * self.block_steps)

    def check(self, job: JobFile) -> None:
        """Raise KeyProblem for what cannot go together with the rest of the job."""
        if self.buffer_size < self.batch_size:
            raise KeyProblem(
                ("rl", "algorithm", "buffer_size"),
                f"{self.buffer_size} transitions are fewer than one minibatch of {self.batch_size}",
            )

        if self.updates_per_step is None and job.deterministic:
            raise KeyProblem(
                ("rl", "algorithm", "updates_per_step"),
                "null lets the clock decide; a deterministic job needs a number, such as 1",
            )

    def acting_arrays(self, spaces: Spaces, learner: LearnerState) -> Arrays:
        """What the policy loads, of a saved learner."""
        return dict(learner.model)

    def stream_spec(self, columns: int, streams: int, spaces: Spaces) -> StreamSpec:
        """The newest rows of `buffer_size` transitions, shared among so many streams; and room for
        what samplers write while a minibatch is read.
        """
        if self.buffer_size < columns * streams:
            raise UserError(
                f"rl.algorithm.buffer_size: {self.buffer_size} transitions are fewer than one step"
                f" of all {columns * streams} environments and agents"
            )
        block = self.block_steps * columns * streams
        kept = math.ceil(self.buffer_size / block)
        blocks = kept + max(SPARE_BLOCKS, kept // 50)
        return StreamSpec(self.block_steps, blocks, columns, spaces, overwrite=True)

    def make_turn(self, learner: RememberingLearner, channels: Channels) -> ReplayTurn:
        """What one iteration does."""
        from covey.algorithms.off_policy import ReplayTurn

        feed = channels.feed
        return ReplayTurn(
            learner,
            learner.memory.open(feed.streams, feed.archives),
            channels,
            updates_per_step=self.updates_per_step,
            learning_starts=self.learning_starts,
            batch_size=self.batch_size,
        )

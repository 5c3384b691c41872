"""The `rl:` section of a job file."""

from typing import Annotated, Literal

from pydantic import Field

from covey.algorithms.coded import Coded
from covey.algorithms.devices import Devices
from covey.algorithms.registry import AlgorithmConfig
from covey.envs.section import EnvSection
from covey.platform.jobfile.model import Count, Positive, Section


class Elastic(Section):
    """A number of samplers that follows the room that a cluster has."""

    min: Count
    max: Count


class Tuning(Section):
    """How far a job that tunes itself may go. It begins with the numbers of `sampling`."""

    samplers: Count | None = Field(
        default=None, description="tried up to so many; auto: 4 a CPU; a number is kept if null"
    )
    envs_per_sampler: Count | None = Field(
        default=None, description="tried up to so many; auto: 64; a number is kept if null"
    )
    batch_size: Count | None = Field(
        default=None,
        description="of replay, doubled up to this; auto: 8192, or a quarter of buffer_size; a "
        "number is kept if null",
    )
    environments: Literal["kept", "free"] | None = Field(
        default=None,
        description="kept: as many in all as at first, shared out otherwise, so that updates stay "
        "the same; free: any number; free for replay, kept for other algorithms if null",
    )
    measure_s: Positive = Field(default=2.0, description="each setting is measured so long")


class Sampling(Section):
    """Who collects, and on how many environments each."""

    samplers: Literal["auto"] | Annotated[int, Field(ge=0)] | Elastic = Field(
        default="auto",
        description="sampler actors; 0: everything in one process, without Ray; auto: one a CPU; "
        "and tuned while running; {min: 2, max: 16}: as many as the cluster has room for",
    )
    envs_per_sampler: Literal["auto"] | Count = Field(
        default="auto",
        description="environments a sampler steps together; auto: 8 in all, at least 4 each, and "
        "tuned while running",
    )
    tuning: Tuning | None = Field(
        default=None,
        description="of auto, or of numbers to begin with; never while everything is in one "
        "process, or in a deterministic job",
    )
    groups: Literal[1, 2] = Field(
        default=1,
        description="2: half of a sampler's environments are stepped while the policy acts for the "
        "other half, which pays where stepping is slow, and the sampler has a second core",
    )
    hang_s: Positive = Field(
        default=60.0, description="a sampler that gives no sign for so long is replaced"
    )


class EvaluationSection(Section):
    """Whole episodes with the most likely actions, played beside the training."""

    every_env_steps: Count | None = Field(default=None, description="not at all if left out")
    episodes: Count = 10


class ViewerSection(Section):
    """A live picture of curves and meters, and the newest episode, in the run folder."""

    every_s: Positive | None = Field(
        default=10.0,
        description="between two pictures, and 4,000 steps or a minute; none if null, or while "
        "everything is in one process",
    )


class Learners(Section):
    """Learners that share every minibatch, each on a part of its rows; with `coded`, workers that
    compute the parts of its gradient.
    """

    count: Count


class RLSection(Section):
    """What is trained, where, and by how many samplers."""

    algorithm: AlgorithmConfig
    env: EnvSection
    sampling: Sampling = Sampling()
    evaluation: EvaluationSection = EvaluationSection()
    viewer: ViewerSection = ViewerSection()
    learners: Learners | None = Field(
        default=None,
        description="share each minibatch among several learners; with coded: in how many parts "
        "its workers compute a gradient",
    )
    coded: Coded | None = Field(
        default=None, description="have updates computed by workers, with a code over them"
    )
    devices: Devices | None = Field(
        default=None, description="have actor and critics updated by a process each"
    )


def number_of_learners(section: RLSection) -> int:
    """That share each minibatch; `learners` of a coded job are parts of a gradient instead."""
    if section.learners is None or section.coded is not None:
        return 1
    return section.learners.count

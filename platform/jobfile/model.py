"""The shape of a job file. Reading one, with lines and nearest names, is `load.py`'s work."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from covey.platform.jobfile.kubernetes_section import KubernetesSection
from covey.platform.jobfile.section import Count, Positive, Section

__all__ = [
    "Checkpointing",
    "Count",
    "JobFile",
    "Positive",
    "Resources",
    "Retries",
    "Section",
    "StepUnit",
    "Stop",
    "field_name",
]

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$"
DEFAULT_EVERY_S = 60
StepUnit = Literal["env_steps", "rounds"]


class Resources(Section):
    """What the whole job takes; the scheduler gives all of it or nothing."""

    cpus: Positive = 1
    """CPU cores; a fraction is allowed."""
    gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs; a fraction is allowed."""


class Retries(Section):
    """How often a failed attempt is followed by another, and the pause before it.

    The pause doubles with each attempt and is stretched by up to a quarter at random.
    """

    max_attempts: Count = 3
    """Attempts in all; 1 means that a failed job is not tried again."""
    backoff_s: Annotated[float, Field(ge=0)] = 5
    """Seconds before the second attempt."""


class Checkpointing(Section):
    """When a checkpoint is written (whichever comes first) and how many whole ones are kept.

    Without any `every_*` key it is every minute.
    """

    every_s: Positive | None = None
    """Seconds between checkpoints."""
    every_env_steps: Count | None = None
    """Environment steps between checkpoints."""
    every_rounds: Count | None = None
    """Rounds between checkpoints."""
    keep: Count = 2
    """How many whole checkpoints stay."""
    path: str | None = None
    """Where they are kept instead of in the run folder: an object store's URL (`s3://…`), or the
    absolute path of a shared folder. The run gets a place of its own under it."""

    @model_validator(mode="before")
    @classmethod
    def _every_minute_unless_told(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        told = [key for key in data if key.startswith("every_") and data[key] is not None]
        return data if told else {**data, "every_s": DEFAULT_EVERY_S}


class Stop(Section):
    """When training ends: the first of these that is reached. At least one is given."""

    env_steps: Count | None = None
    """Environment steps of all samplers together."""
    rounds: Count | None = None
    """Federated rounds."""
    episode_return_mean: float | None = None
    """Mean return of the last 100 finished training episodes: stop when it is this high."""
    evaluation_return_mean: float | None = None
    """Mean return of the newest evaluation (`rl.evaluation`): stop when it is this high."""
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    """Accuracy on the test set, as a fraction: stop when it is this high."""
    wall_s: Positive | None = None
    """Seconds of training, over all attempts."""


class JobFile(Section):
    """What all job files share. `load.py` adds the one section that is named after the workload."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    """Lower-case letters, digits and inner hyphens; at most 47 characters."""
    workload: str
    """The kind of job; its settings stand in the section of the same name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """The one number that every random generator of the job is derived from."""
    deterministic: bool = False
    """The same seed gives the same result bit for bit, also when the run was killed and resumed."""
    code: str | None = None
    """A folder put on the job's import path: own environments, algorithms, apps."""
    resources: Resources = Resources()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Among queued jobs the highest starts first."""
    after: tuple[str, ...] = ()
    """Ids of jobs that must have succeeded before this one is queued."""
    retries: Retries = Retries()
    checkpoint: Checkpointing = Checkpointing()
    grace_s: Positive = 30
    """Seconds between the request to stop and the kill; long enough to write a checkpoint."""
    stop: Stop
    kubernetes: KubernetesSection | None = None

    @property
    def section(self) -> Any:
        """The workload's own section, an instance of `Workload.section`."""
        return getattr(self, field_name(self.workload))


def field_name(workload: str) -> str:
    """The Python name of a workload's section; its key in the file is the workload's name."""
    return workload.replace("-", "_")

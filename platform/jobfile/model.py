"""The shape of a job file. Reading one, with line numbers and near-miss names, is `load.py`'s work."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?$"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of every part of a job file: typed, frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resources(Section):
    """What the whole job takes; the scheduler gives all of it or nothing."""

    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0


class Retries(Section):
    """How often a failed attempt is followed by another, and the pause before it.

    The pause doubles with each attempt and is stretched by up to a quarter at random.
    """

    max_attempts: Count = 3
    backoff_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5


class Checkpointing(Section):
    """When a checkpoint is written (whichever comes first) and how many whole ones are kept."""

    every_s: Positive | None = None
    every_env_steps: Count | None = None
    every_rounds: Count | None = None
    keep: Count = 2


class Stop(Section):
    """When training ends: the first of these that is reached. At least one is given."""

    env_steps: Count | None = None
    rounds: Count | None = None
    episode_return_mean: Annotated[float, Field(allow_inf_nan=False)] | None = None
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    wall_s: Positive | None = None


class JobFile(Section):
    """What all job files share. `load.py` adds the one section that is named after the workload."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    workload: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    deterministic: bool = False
    code: str | None = None
    resources: Resources = Resources()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    after: tuple[str, ...] = ()
    retries: Retries = Retries()
    checkpoint: Checkpointing = Checkpointing()
    grace_s: Positive = 30
    stop: Stop

    @property
    def section(self) -> Any:
        """The workload's own section, an instance of `Workload.section`."""
        return getattr(self, self.workload.replace("-", "_"))


StepUnit = Literal["env_steps", "rounds"]

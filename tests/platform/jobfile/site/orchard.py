"""A small third-party workload with every shape of field that a section may have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, JobFile, Positive, Section
from covey.platform.workload import Policy


class Pruning(Section):
    """Cut what is too long."""

    name: Literal["prune"]
    depth: Count = 3
    """How many forks deep."""
    seasons: tuple[Count, ...] = (1, 2)


class Grafting(Section):
    """Put one tree on another."""

    name: Literal["graft"]
    heat: Positive = 0.5


class Weather(Section):
    """What falls on the trees."""

    id: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


class TreeGrowing(Section):
    """An orchard and who works in it."""

    algorithm: Annotated[Pruning | Grafting, Field(discriminator="name")]
    weather: Weather
    pickers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    rest_s: Positive | None = 5

    @model_validator(mode="after")
    def _somebody_rests(self) -> "TreeGrowing":
        if self.pickers == 0 and self.rest_s is not None:
            raise ValueError("rest_s is for pickers, and there are none")
        return self


class Workload:
    """Steps are rounds; it can stop by accuracy."""

    name = "tree-growing"
    section = TreeGrowing
    step_unit = "rounds"
    stop_metrics = frozenset({"accuracy"})
    may_change: frozenset[str] = frozenset()

    def resolve(self, job: JobFile, base: Path) -> JobFile:
        if job.section.weather.id == "hail":
            raise KeyProblem(("tree-growing", "weather", "id"), "found 'hail',\nallowed is rain")
        return job

    def run(self, run: object) -> Mapping[str, float]:
        return {}

    def evaluate(self, run_dir: Path, episodes: int) -> Mapping[str, float]:
        return {}

    def load_policy(self, run_dir: Path) -> Policy:
        raise KeyError(run_dir)


WORKLOAD = Workload()

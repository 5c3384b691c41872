"""The run config of the built-in apps: flat values, as every Flower app gets them."""

from dataclasses import dataclass
from typing import Any

from flwr.app import Context

from covey.federation.app_folder import ConfigValue
from covey.federation.section import FederatedSection
from covey.platform.jobfile.model import JobFile

ENDLESS = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What server and clients of a built-in app are told. Either `epochs` or `steps` is 0."""

    model: str
    data: str
    partition: str
    alpha: float
    min_size: int
    partition_seed: int
    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    strategy: str
    buffer: int
    concurrency: int
    staleness_exponent: float
    server_learning_rate: float
    cohort: int
    rounds: int


def run_config_of(job: JobFile) -> dict[str, ConfigValue]:
    """The run config of a resolved job with a built-in app."""
    section: FederatedSection = job.section
    assert section.data and section.local and section.strategy and section.cohort
    partition = section.data.partition
    settings = Settings(
        model=section.app,
        data=section.data.name,
        partition=partition.kind,
        alpha=partition.alpha or 0.0,
        min_size=partition.min_size,
        partition_seed=job.seed,
        epochs=section.local.epochs or 0,
        steps=section.local.steps or 0,
        batch_size=section.local.batch_size,
        learning_rate=section.local.learning_rate,
        strategy=section.strategy.name,
        buffer=section.strategy.buffer or 0,
        concurrency=section.strategy.concurrency or 0,
        staleness_exponent=section.strategy.staleness_exponent or 0.0,
        server_learning_rate=section.strategy.server_learning_rate or 0.0,
        cohort=section.cohort,
        rounds=job.stop.rounds or ENDLESS,
    )
    return vars(settings).copy()


def settings_of(context: Context) -> Settings:
    """What a running app finds in its context."""
    config: dict[str, Any] = dict(context.run_config)
    return Settings(**config)

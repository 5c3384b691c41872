"""The run config of the built-in apps: flat values, as every Flower app gets them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flwr.app import Context
from pydantic import TypeAdapter

from covey.federation.app_folder import ConfigValue
from covey.federation.compression_section import CompressionSection
from covey.federation.privacy_section import PrivacySection
from covey.federation.section import HIDDEN, FederatedSection
from covey.federation.strategies.options import StrategyOptions
from covey.federation.strategies.registry import StrategySection
from covey.platform.jobfile.model import JobFile, Section

ENDLESS = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """What server and clients of a built-in app are told. Either `epochs` or `steps` is 0."""

    model: str
    hidden: int
    """Units of an mlp."""
    data: str
    partition: str
    alpha: float
    classes_per_client: int
    min_size: int
    partition_seed: int
    held_out: float
    public: float
    evaluated: int
    """Clients that measure the model after a round; 0: none do."""
    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    order: str
    strategy: str
    """The strategy's section of the job file as JSON; so are the next two, null for none."""
    differential_privacy: str
    compression: str
    cohort: int
    rounds: int
    deterministic: bool
    """Whether a run must be the same every time, the noise of differential privacy too."""


def run_config_of(job: JobFile) -> dict[str, ConfigValue]:
    """The run config of a resolved job with a built-in app."""
    section: FederatedSection = job.section
    assert section.data and section.local and section.strategy and section.cohort
    partition = section.data.partition
    settings = Settings(
        model=section.app,
        hidden=section.hidden or HIDDEN,
        data=section.data.source,
        partition=partition.kind,
        alpha=partition.alpha or 0.0,
        classes_per_client=partition.classes_per_client or 0,
        min_size=partition.min_size,
        partition_seed=job.seed,
        held_out=float(section.data.held_out),
        public=float(section.data.public),
        evaluated=_evaluated(section),
        epochs=section.local.epochs or 0,
        steps=section.local.steps or 0,
        batch_size=section.local.batch_size,
        learning_rate=section.local.learning_rate,
        order=section.local.order,
        strategy=section.strategy.model_dump_json(),
        differential_privacy=_json(section.differential_privacy),
        compression=_json(section.compression),
        cohort=section.cohort,
        rounds=job.stop.rounds or ENDLESS,
        deterministic=job.deterministic,
    )
    return vars(settings).copy()


def _evaluated(section: FederatedSection) -> int:
    if section.evaluate_clients == "all":
        return section.clients
    return (section.cohort or section.clients) if section.evaluate_clients else 0


def settings_of(context: Context) -> Settings:
    """What a running app finds in its context."""
    config: dict[str, Any] = dict(context.run_config)
    return Settings(**config)


def _json(section: Section | None) -> str:
    return section.model_dump_json() if section else "null"


_STRATEGY: TypeAdapter[StrategyOptions] = TypeAdapter(StrategySection)
_PRIVACY: TypeAdapter[PrivacySection | None] = TypeAdapter(PrivacySection | None)
_COMPRESSION: TypeAdapter[CompressionSection | None] = TypeAdapter(CompressionSection | None)


@lru_cache
def strategy_of(settings: Settings) -> StrategyOptions:
    """The options of the strategy."""
    return _STRATEGY.validate_json(settings.strategy)


def privacy_of(settings: Settings) -> PrivacySection | None:
    """The options of differential privacy, if there is to be any."""
    return _PRIVACY.validate_json(settings.differential_privacy)


@lru_cache
def compression_of(text: str) -> CompressionSection | None:
    """The options of compression, from the run config's text: once for all messages."""
    return _COMPRESSION.validate_json(text)

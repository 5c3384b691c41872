"""The strategies that a job file can name: one line each."""

from typing import Annotated

from pydantic import Field

from covey.federation.strategies.adaptive import (
    FedAdagradOptions,
    FedAdamOptions,
    FedYogiOptions,
)
from covey.federation.strategies.averaging import (
    FedAvgMOptions,
    FedAvgOptions,
    FedProxOptions,
    QFedAvgOptions,
    ScaffoldOptions,
)
from covey.federation.strategies.buffered import FedBuffOptions
from covey.federation.strategies.distilling import FedGenOptions
from covey.federation.strategies.robust import (
    BulyanOptions,
    KrumOptions,
    MedianOptions,
    MultiKrumOptions,
    TrimmedMeanOptions,
)

StrategySection = Annotated[
    BulyanOptions
    | FedAdagradOptions
    | FedAdamOptions
    | FedAvgMOptions
    | FedAvgOptions
    | FedBuffOptions
    | FedGenOptions
    | FedProxOptions
    | FedYogiOptions
    | KrumOptions
    | MedianOptions
    | MultiKrumOptions
    | QFedAvgOptions
    | ScaffoldOptions
    | TrimmedMeanOptions,
    Field(discriminator="name"),
]

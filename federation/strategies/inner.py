"""The strategies that others may stand around: one line each."""

from covey.federation.strategies.adaptive import (
    FedAdagradOptions,
    FedAdamOptions,
    FedYogiOptions,
)
from covey.federation.strategies.averaging import (
    FedAvgMOptions,
    FedAvgOptions,
    FedProxOptions,
    ScaffoldOptions,
)
from covey.federation.strategies.buffered import FedBuffOptions
from covey.federation.strategies.robust import (
    BulyanOptions,
    KrumOptions,
    MedianOptions,
    MultiKrumOptions,
    TrimmedMeanOptions,
)

InnerOptions = (
    BulyanOptions
    | FedAdagradOptions
    | FedAdamOptions
    | FedAvgMOptions
    | FedAvgOptions
    | FedBuffOptions
    | FedProxOptions
    | FedYogiOptions
    | KrumOptions
    | MedianOptions
    | MultiKrumOptions
    | ScaffoldOptions
    | TrimmedMeanOptions
)

"""Options of federated distillation: clients exchange their mean logits by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

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
    ScaffoldOptions,
)
from covey.federation.strategies.options import NotNegative, StrategyOptions, Told

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy

Averaging = Annotated[
    FedAdagradOptions
    | FedAdamOptions
    | FedAvgMOptions
    | FedAvgOptions
    | FedProxOptions
    | FedYogiOptions
    | ScaffoldOptions,
    Field(discriminator="name"),
]
"""Neither robust, as the logits are plain averages, nor asynchronous, as they are of a round."""


class LabelLogits(StrategyOptions):
    """What both kinds have in common."""

    weight: NotNegative = Field(
        default=1.0,
        description="of the distance between predictions for samples and everybody's for their "
        "labels, in the clients' loss",
    )

    @property
    def too_telling(self) -> str | None:
        return "what clients tell of their logits is not covered by its noise"

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        from covey.federation.feddistill import FedDistill

        return FedDistill(strategy, self.weight)


class FedDistillOptions(LabelLogits):
    """Clients exchange nothing but their mean logits by label, and each has a model of its own
    (Jeong et al. 2018, section 3).
    """

    name: Literal["feddistill"]
    share: Literal["nothing"] = "nothing"


class FedDistillPlusOptions(LabelLogits):
    """Clients exchange their mean logits by label beside their models (as compared in Zhu et al.
    2021).
    """

    name: Literal["feddistill+"]
    average: Averaging = Field(
        default=FedAvgOptions(name="fedavg"), description="the strategy that makes the new model"
    )

    @property
    def inner(self) -> StrategyOptions:
        return self.average

    def build(self, told: Told) -> Strategy:
        return self.average.build(told)

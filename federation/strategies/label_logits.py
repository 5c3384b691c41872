"""Options of federated distillation: clients exchange their mean logits by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.ensembling import AroundOptions, Reasons, unfit
from covey.federation.strategies.options import NotNegative, StrategyOptions, Told

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy


class LabelLogits(StrategyOptions):
    """What both kinds have in common."""

    asks_each_model: ClassVar[bool] = True

    weight: NotNegative = Field(
        default=1.0,
        description="of the distance between predictions for samples and everybody's for their "
        "labels, in the clients' loss",
    )

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        from covey.federation.feddistill import FedDistill

        return FedDistill(strategy, self.weight)


class FedDistillOptions(LabelLogits):
    """Clients exchange nothing but their mean logits by label, and each has a model of its own
    (Jeong et al. 2018, section 3).
    """

    bears_compression: ClassVar[bool] = False

    name: Literal["feddistill"]
    share: Literal["nothing"] = "nothing"


class FedDistillPlusOptions(LabelLogits, AroundOptions):
    """Clients exchange their mean logits by label beside their models (as compared in Zhu et al.
    2021).
    """

    unfit: ClassVar[Reasons] = unfit("logits")

    name: Literal["feddistill+"]

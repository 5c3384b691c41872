"""Strategies that average the clients' models, by Flower's classes, and SCAFFOLD, which is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.options import Fraction, NotNegative, StrategyOptions, Told
from covey.platform.jobfile.model import Positive

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy


class FedAvgOptions(StrategyOptions):
    """The average of the clients' models, by their samples (McMahan et al. 2017, algorithm 1)."""

    averages: ClassVar[bool] = True

    name: Literal["fedavg"]


class FedProxOptions(StrategyOptions):
    """FedAvg whose clients are drawn back to the global model (Li et al. 2020, algorithm 2)."""

    flower: ClassVar[str] = "FedProx"
    averages: ClassVar[bool] = True

    name: Literal["fedprox"]
    mu: NotNegative = Field(
        default=0.01,
        description="weight of mu/2 |w - global|^2 in the clients' loss; 0 is FedAvg; the paper "
        "tries 0.001 to 1",
    )

    def arguments(self, told: Told) -> dict[str, Any]:
        return {"proximal_mu": self.mu}


class FedAvgMOptions(StrategyOptions):
    """FedAvg with momentum on the server (Hsu et al. 2019, section 4.3)."""

    flower: ClassVar[str] = "FedAvgM"

    name: Literal["fedavgm"]
    server_learning_rate: Positive = Field(
        default=1.0, description="how far the server goes along the clients' average update"
    )
    momentum: Fraction = Field(
        default=0.9, description="share of the last step in the next; 0 is FedAvg"
    )

    def arguments(self, told: Told) -> dict[str, Any]:
        return {
            "server_learning_rate": self.server_learning_rate,
            "server_momentum": self.momentum,
        }


class QFedAvgOptions(StrategyOptions):
    """Clients with a high loss count more (q-FedAvg; Li et al. 2020, "Fair resource allocation in
    federated learning", algorithm 2). The Lipschitz constant is 1 / local.learning_rate.
    """

    flower: ClassVar[str] = "QFedAvg"
    needs_loss_before: ClassVar[bool] = True

    name: Literal["qfedavg"]
    q: NotNegative = Field(
        default=0.1, description="0 counts all clients alike; the paper tries 0.001 to 5"
    )

    def arguments(self, told: Told) -> dict[str, Any]:
        return {
            "q": self.q,
            "client_learning_rate": told.learning_rate,
            "train_loss_key": "loss-before",
        }


class ScaffoldOptions(StrategyOptions):
    """Control variates take out of each local step what makes the client differ from all
    (Karimireddy et al. 2020, algorithm 1, option II).
    """

    bears_compression: ClassVar[bool] = False

    name: Literal["scaffold"]
    server_learning_rate: Positive = Field(
        default=1.0, description="how far the server goes along the clients' average update"
    )

    def build(self, told: Told) -> Strategy:
        from covey.federation.scaffold import Scaffold

        return Scaffold(told.learning_rate, self.server_learning_rate, **told.sampling())

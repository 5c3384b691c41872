"""Adaptive optimisers on the server (Reddi et al. 2021, algorithm 2), by Flower's classes.

The average update of the clients stands for the gradient. What is good depends on the task: the
paper's table 8 has server learning rates from 0.001 to 1 and tau of 1e-3 for most.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.options import Fraction, StrategyOptions, Told
from covey.platform.jobfile.model import Positive


class _AdaptiveOptions(StrategyOptions):
    server_learning_rate: Positive = Field(default=0.1, description="eta in the paper")
    tau: Positive = Field(
        default=1e-3,
        description="added to the root of the second moment: the larger, the less adaptive",
    )

    def arguments(self, told: Told) -> dict[str, Any]:
        return {"eta": self.server_learning_rate, "tau": self.tau}


class FedAdagradOptions(_AdaptiveOptions):
    """The second moments of all rounds are added up."""

    flower: ClassVar[str] = "FedAdagrad"

    name: Literal["fedadagrad"]


class _MomentOptions(_AdaptiveOptions):
    beta1: Fraction = Field(default=0.9, description="how much of the first moment is kept a round")
    beta2: Fraction = Field(
        default=0.99, description="how much of the second moment is kept a round"
    )

    def arguments(self, told: Told) -> dict[str, Any]:
        return {**super().arguments(told), "beta_1": self.beta1, "beta_2": self.beta2}


class FedAdamOptions(_MomentOptions):
    """The second moment is a moving average."""

    flower: ClassVar[str] = "FedAdam"

    name: Literal["fedadam"]


class FedYogiOptions(_MomentOptions):
    """The second moment changes by at most its own new part, in the direction of it."""

    flower: ClassVar[str] = "FedYogi"

    name: Literal["fedyogi"]

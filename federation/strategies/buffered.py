"""FedBuff's options, and what must hold between them and the rest of the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.options import NotNegative, StrategyOptions, Told
from covey.platform.errors import KeyProblem
from covey.platform.jobfile.model import Count, Positive

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy


class FedBuffOptions(StrategyOptions):
    """Clients train all the time, and the server does not wait for the slow ones (Nguyen et al.
    2022, algorithm 1).
    """

    bears_compression: ClassVar[bool] = False

    name: Literal["fedbuff"]
    buffer: Count | None = Field(
        default=None,
        description="replies that make an update of the model, which is a round; cohort if left "
        "out",
    )
    concurrency: Count | None = Field(
        default=None, description="clients that train at any time; cohort if left out"
    )
    staleness_exponent: NotNegative = Field(
        default=0.5,
        description="a reply to a model that is t updates old weighs (1 + t)^-exponent",
    )
    server_learning_rate: Positive = Field(default=1.0, description="how far an update goes")

    def build(self, told: Told) -> Strategy:
        from covey.federation.fedbuff import FedBuff

        return FedBuff(
            self.buffer or told.cohort,
            self.concurrency or told.cohort,
            self.staleness_exponent,
            self.server_learning_rate,
        )

    def resolved(self, cohort: int, clients: int, min_replies: int) -> FedBuffOptions:
        """With its defaults filled in; KeyProblem for what cannot be."""
        for key, value in (("buffer", self.buffer), ("concurrency", self.concurrency)):
            if (value or 0) > clients:
                raise KeyProblem(
                    ("federated", "strategy", key), f"found {value}, more than clients ({clients})"
                )
        if min_replies > 1:
            raise KeyProblem(
                ("federated", "round", "min_replies"),
                "does not fit fedbuff, whose rounds have strategy.buffer replies; leave it out",
            )
        filled = {"buffer": self.buffer or cohort, "concurrency": self.concurrency or cohort}
        return self.model_copy(update=filled)

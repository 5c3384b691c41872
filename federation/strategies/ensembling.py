"""Options of strategies in which the server asks the clients' models themselves, not their average
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.averaging import FedAvgMOptions, FedAvgOptions
from covey.federation.strategies.buffered import FedBuffOptions
from covey.federation.strategies.inner import InnerOptions
from covey.federation.strategies.options import Problem, StrategyOptions, Told
from covey.federation.strategies.robust import (
    BulyanOptions,
    KrumOptions,
    MedianOptions,
    MultiKrumOptions,
    TrimmedMeanOptions,
)
from covey.platform.jobfile.model import Count, Positive

if TYPE_CHECKING:
    from flwr.serverapp.strategy import Strategy

Averaging = Annotated[InnerOptions, Field(discriminator="name")]
Reasons = dict[type[StrategyOptions], str]
"""Strategies that cannot make the new model, and why."""


def unfit(what: str) -> Reasons:
    """Those that know no rounds, and those that trust no client, where every client tells `what`"""
    untrusting = f"is there for clients that cannot be trusted, and here every client's {what}"
    robust = (BulyanOptions, KrumOptions, MedianOptions, MultiKrumOptions, TrimmedMeanOptions)
    buffered = f"has no rounds, and here the {what} of a round belong together"
    return {FedBuffOptions: buffered, **dict.fromkeys(robust, f"{untrusting} count")}


UNFIT = unfit("own models")


class AroundOptions(StrategyOptions):
    """What strategies have in common that stand around one that makes the new model."""

    unfit: ClassVar[Reasons] = {}

    average: Averaging = Field(
        default=FedAvgOptions(name="fedavg"),
        description="the strategy that makes the new model; no robust one, and not fedbuff",
    )

    @property
    def inner(self) -> StrategyOptions:
        return self.average

    def problem(self, cohort: int) -> Problem | None:
        if reason := self.unfit.get(type(self.average)):
            return "average.name", f"{self.average.name} {reason}; fedavg fits"
        return None

    def build(self, told: Told) -> Strategy:
        return self.average.build(told)


class EnsemblingOptions(AroundOptions):
    """Those whose server asks the clients' models: it must have all of each."""

    asks_each_model: ClassVar[bool] = True
    unfit: ClassVar[Reasons] = UNFIT

    def problem(self, cohort: int) -> Problem | None:
        if self.share != "all":
            return "share", f"found {self.share}, but the server asks whole models; allowed is all"
        return super().problem(cohort)


class FedEnsembleOptions(EnsemblingOptions):
    """What is tested is the mean of the logits of every client's newest model (the comparison of
    Zhu et al. 2021, after Lin et al. 2020). What clients train, and what a run leaves as its model,
    is that of `average`.
    """

    name: Literal["fedensemble"]

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        from covey.federation.fedensemble import FedEnsemble

        return FedEnsemble(strategy)


class FedDFOptions(EnsemblingOptions):
    """After each round the server teaches the new model, on the samples of data.public, what the
    round's clients say together (Lin et al. 2020, algorithm 1, AVGLOGITS).
    """

    needs_public_data: ClassVar[bool] = True
    unfit: ClassVar[Reasons] = {
        **UNFIT,
        FedAvgMOptions: "goes on from its own last model, not from the one that was taught",
    }

    name: Literal["feddf"]
    # MNIST, mlp, Dirichlet 0.1, 10 of 20 clients: 50 and 200 steps end no better than 20, 1,000 end
    # below them, as do rates of 3e-4 and 3e-3.
    steps: Count = Field(
        default=20,
        description="steps of a round's distillation; the paper's code takes 10,000 at most, and "
        "ends when a validation set is no better for 1,000",
    )
    batch_size: Count = Field(
        default=128, description="public samples in one of them; 128 as in the paper's code"
    )
    learning_rate: Positive = Field(
        default=1e-3,
        description="of its Adam, which begins anew in each round; falls to 0 along half a cosine",
    )

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        from covey.federation.distillation import Distillation
        from covey.federation.feddf import FedDF

        distillation = Distillation(self.steps, self.batch_size, self.learning_rate)
        return FedDF(strategy, distillation, told.make_model, told.public_images)

"""FedGen's options: a generator of latents that clients learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from covey.federation.strategies.averaging import FedAvgOptions
from covey.federation.strategies.inner import InnerOptions
from covey.federation.strategies.options import (
    NotNegative,
    Problem,
    StrategyOptions,
    Told,
)
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

ROBUST = (BulyanOptions, KrumOptions, MedianOptions, MultiKrumOptions, TrimmedMeanOptions)
Averaging = Annotated[InnerOptions, Field(discriminator="name")]

PRESETS: dict[str, dict[str, Any]] = {
    # Equations 4 and 5, algorithm 1; its sizes and rates are those of the experiments.
    "paper": {
        "latent_weight": 1.0,
        "distillation_weight": 0.0,
        "weight_decay_by_round": 1.0,
        "teacher": "mean",
        "labels": "counted",
        "noise_kind": "normal",
        "generator_decay": 1.0,
    },
    "released-code": {
        "latent_weight": 10.0,
        "distillation_weight": 10.0,
        "weight_decay_by_round": 0.98,
        "teacher": "losses",
        "labels": "even",
        "noise_kind": "uniform",
        "generator_decay": 0.98,
    },
    "default": {
        "weight_decay_by_round": 0.98,
        "teacher": "losses",
        "labels": "even",
        "noise_kind": "uniform",
        "generator_decay": 0.98,
    },
}
STRENGTH = 0.05
"""The default weights times the learning rate: what a step does to the last layer is their product.
Half the released code's, which is 10 at a rate of 0.01. With its network on MNIST (Dirichlet 0.05
and 0.1, three partitions) products from 0.02 to 0.1 gain at rates of 0.01 to 0.1, the larger the
more: 0.4 to 0.9, 0.6 to 1.7 and 0.7 to 2.4 points for 0.02, 0.05 and 0.1. At 0.2 one run of three
diverges, at 0.5 all do; at a rate of 0.3, which FedAvg barely bears, 0.1 does and 0.05 does not.
"""


class FedGenOptions(StrategyOptions):
    """A generator learns from the clients' last layers what stands for which label, and tells it to
    clients that lack the label (Zhu et al. 2021, algorithm 1). What is left out is as the preset
    says.
    """

    needs_latents: ClassVar[bool] = True

    name: Literal["fedgen"]
    preset: Literal["default", "paper", "released-code"] = Field(
        default="default", description="where options that are left out come from"
    )
    latent_weight: NotNegative | None = Field(
        default=None,
        description="weight of the loss on latents that are made for drawn labels; 0.05 / "
        "local.learning_rate by default",
    )
    distillation_weight: NotNegative | None = Field(
        default=None,
        description="weight of the distance between predictions for samples and for latents that "
        "are made for their labels; as latent_weight by default",
    )
    weight_decay_by_round: Positive | None = Field(
        default=None, description="both weights are multiplied by it after each round"
    )
    guided_steps: Count = Field(
        default=20, description="local steps of a round, from the first, in which they count"
    )
    generated_batch: Count = Field(default=32, description="latents that are made in a local step")
    teacher: Literal["losses", "mean"] | None = Field(
        default=None,
        description="what the generator is trained on: the clients' own losses, weighed by who "
        "has how much of a label, or the loss of their mean logits",
    )
    labels: Literal["counted", "even"] | None = Field(
        default=None,
        description="labels are drawn as often as clients have them, or alike if anybody has them",
    )
    label_counts: Literal["exact", "noisy", "withheld"] = Field(
        default="exact",
        description="what clients tell of their labels; if nothing, all clients count alike and "
        "all labels are drawn alike",
    )
    label_noise: Positive = Field(
        default=1.0, description="scale of the Laplace noise on label_counts: noisy"
    )
    diversity: NotNegative = Field(
        default=1.0, description="weight of the term that keeps a label's latents apart"
    )
    noise: Count = Field(default=32, description="numbers of noise that a latent is made of")
    noise_kind: Literal["uniform", "normal"] | None = Field(
        default=None, description="their distribution: in [0, 1), or standard normal"
    )
    hidden: Count = Field(default=256, description="hidden units of the generator")
    generator_steps: Count = Field(default=50, description="its training steps in a round")
    generator_batch: Count = Field(default=32, description="latents in one of them")
    generator_learning_rate: Positive = Field(default=3e-4, description="of its Adam")
    generator_weight_decay: NotNegative = Field(default=1e-2, description="likewise")
    generator_decay: Positive | None = Field(
        default=None, description="its learning rate is multiplied by it after each round"
    )

    ablation: Literal["frozen-generator", "permuted-labels"] | None = Field(
        default=None,
        description="an experiment: what the gain comes from. frozen-generator: it stays as it "
        "was drawn at random; permuted-labels: clients asking for a label's latents get those of "
        "the next label",
    )

    def chosen(self, learning_rate: float) -> dict[str, Any]:
        """All options, with those of the preset where nothing is said."""
        said = {name: value for name, value in self.model_dump().items() if value is not None}
        weights = dict.fromkeys(("latent_weight", "distillation_weight"), STRENGTH / learning_rate)
        return weights | PRESETS[self.preset] | said

    average: Averaging = Field(
        default=FedAvgOptions(name="fedavg"),
        description="the strategy that makes the new model; of robust ones the generator learns "
        "from the model that they make, as with differential_privacy",
    )

    @property
    def inner(self) -> StrategyOptions:
        return self.average

    @property
    def tells_more(self) -> str | None:
        return None if self.label_counts == "withheld" else "label_counts"

    def problem(self, cohort: int) -> Problem | None:
        if self.generator_batch < 2:
            return "generator_batch", "found 1, but a generator is normalised over 2 or more"
        found = self.average.problem(cohort)
        return found and (f"average.{found[0]}", found[1])

    def least(self, cohort: int) -> int:
        return self.average.least(cohort)

    def build(self, told: Told) -> Strategy:
        return self.average.build(told)

    def around(self, strategy: Strategy, told: Told, private: bool) -> Strategy:
        from functools import partial

        from covey.federation.asynchronous_fedgen import AsynchronousFedGen
        from covey.federation.fedbuff import FedBuff
        from covey.federation.fedgen import FedGen, Guidance
        from covey.federation.latent_generator import Shape
        from covey.federation.lesson import Lesson

        chosen = self.chosen(told.learning_rate)
        noise = {"exact": 0.0, "noisy": self.label_noise, "withheld": None}[self.label_counts]
        guidance = Guidance(
            chosen["latent_weight"],
            chosen["distillation_weight"],
            chosen["weight_decay_by_round"],
            self.guided_steps,
            self.generated_batch,
            noise,
        )
        lesson = Lesson(
            self.generator_steps,
            self.generator_batch,
            self.generator_learning_rate,
            chosen["generator_decay"],
            self.generator_weight_decay,
            self.diversity,
            chosen["teacher"],
            chosen["noise_kind"],
        )
        shape = partial(Shape, noise=self.noise, hidden=self.hidden, rectified=told.rectified)
        common = {
            "guidance": guidance,
            "lesson": lesson,
            "shape": shape,
            "even": chosen["labels"] == "even",
            "public": private or isinstance(self.average, ROBUST),
            "ablation": self.ablation,
        }
        if isinstance(strategy, FedBuff):
            return AsynchronousFedGen(strategy, **common)
        return FedGen(strategy, **common)

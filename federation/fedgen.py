"""FedGen's server (Zhu et al. 2021, algorithm 1), around the strategy that makes the new model.

A generator learns from the last layers of the clients' models which latents stand for which label;
the clients get it with the next round's model, and learn from it about labels that they lack. The
only further thing that they tell is how often they have used each label, if that.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from covey.federation.latent_generator import Generator, Shape, State
from covey.federation.latent_picture import LATENTS
from covey.federation.latent_samples import LatentSamples, latents_table
from covey.federation.lesson import Heads, Lesson, teach
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.records import array_record, entries_of, records_in
from covey.federation.wrapping import Wrapping

GENERATOR = "generator"
"""The record with the generator in a message."""
COUNTS = "label-counts"
"""The metric with a client's counts of the labels that it has trained on."""
WEIGHT, BIAS = "output.weight", "output.bias"
"""The last layer of the built-in models."""
Ablation = Literal["frozen-generator", "permuted-labels"]
"""What is taken away to see what it was good for: all that the generator learns, or that clients
are told which label a latent was made for.
"""


@dataclass(frozen=True)
class Guidance:
    """What clients are told: the weight of the loss on the generator's latents, that of the
    distance to what it stands for, the steps of a round in which they count, latents a step.
    """

    latent_weight: float
    distillation_weight: float
    decay: float
    steps: int
    batch: int
    label_noise: float | None
    """The scale of the noise on their counts of labels, 0 for none; None: they tell no counts."""


class FedGen(Wrapping):
    """`strategy` chooses the clients and averages. Labels are drawn alike if `even`, else as often
    as clients have them. `public`: the generator sees the new model only, none of the clients'.
    """

    def __init__(
        self,
        strategy: Strategy,
        guidance: Guidance,
        lesson: Lesson,
        shape: Callable[..., Shape],
        *,
        even: bool = False,
        public: bool = False,
        ablation: Ablation | None = None,
    ) -> None:
        self.strategy = strategy
        self.generator: State = {}
        """Nothing before the first round has been aggregated."""
        self.adam: dict[str, Any] = {}
        self.labels: list[float] = []
        """How likely each label is to be drawn."""
        self.sizes: tuple[int, ...] = ()
        """Of the last layer: classes and latent."""
        self.head: State = {}
        """The mean of the last layers that it has learnt from last."""
        self.taught = 0
        """The round of that."""
        self.figures: dict[str, float] = {}
        self._guidance, self._lesson = vars(guidance), vars(lesson)
        self._shape_of = shape
        self._even, self._public = even, public
        self._ablation = ablation

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with the generator beside the model."""
        generator = self.tell(server_round, config)
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        for message in messages:
            if generator is not None:
                message.content[GENERATOR] = generator
        return messages

    def tell(self, number: int, config: ConfigRecord) -> ArrayRecord | None:
        """Write into the clients' config what they need to know; the generator, if it is of use."""
        guidance = Guidance(**self._guidance)
        if guidance.label_noise is not None:
            config[COUNTS] = guidance.label_noise
        if not self.generator or not (guidance.latent_weight or guidance.distillation_weight):
            return None
        generator = self._opened()
        fades = guidance.decay**number
        config["latent-weight"] = guidance.latent_weight * fades
        config["distillation-weight"] = guidance.distillation_weight * fades
        config["guided-steps"] = guidance.steps
        config["generated-batch"] = guidance.batch
        config["noise"] = Lesson(**self._lesson).noise
        config["rectified"] = generator.shape.rectified
        config["label-probabilities"] = self.labels
        folded = generator.folded()
        if self._ablation == "permuted-labels":
            folded = with_next_label(folded, generator.shape.noise)
        return array_record({name: NumpyArray(own.numpy()) for name, own in folded.items()})

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's new model; the generator learns from what the clients have sent."""
        replies = list(replies)
        contents = [reply.content for reply in replies if reply.has_content()]
        counts = [_taken_counts(records_in(content, MetricRecord)) for content in contents]
        models = [records_in(content, ArrayRecord)[0] for content in contents]
        averaged, metrics = self.strategy.aggregate_train(server_round, replies)
        if averaged is not None:
            taught_by = [averaged] if self._public else models
            self._learn(server_round, taught_by, [] if self._public else counts)
        return averaged, metrics

    def _learn(
        self,
        number: int,
        models: Sequence[ArrayRecord],
        counts: Sequence[Sequence[float] | None],
    ) -> None:
        weight = torch.stack([_tensor(model, WEIGHT) for model in models])
        bias = torch.stack([_tensor(model, BIAS) for model in models])
        found = [count for count in counts if count is not None]
        by_label = torch.ones(bias.shape)
        if len(found) == len(models):
            by_label = torch.tensor(found, dtype=torch.float32).clamp(min=0)
        total = by_label.sum(0)
        labels = (total > 0).float() if self._even else total
        if not labels.any():
            return
        heads = Heads(weight, bias, by_label / total.clamp(min=1e-12))
        lesson, self.sizes = Lesson(**self._lesson), tuple(weight.shape[1:])
        generator = self._opened() if self.generator else Generator(self._shape_of(*self.sizes))
        if self._ablation != "frozen-generator":
            self.adam = teach(generator, self.adam, heads, labels, lesson, number)
        self.generator, self.taught = generator.state(), number
        self.labels = (labels / labels.sum()).tolist()
        mean = heads.mean()
        self.head = vars(mean)
        samples = LatentSamples.of(generator, self._drawn(), lesson.noise)
        self.figures = {
            "generator_accuracy": samples.accuracy(mean),
            "generator_spread": samples.spread(),
        }

    def tables(self) -> dict[str, bytes]:
        """`latents.json`, once there is a generator."""
        if not self.generator:
            return {}
        heads, noise = Heads(**self.head), Lesson(**self._lesson).noise
        return {LATENTS: latents_table(self._opened(), heads, self._drawn(), noise, self.taught)}

    def _drawn(self) -> Tensor:
        """The labels that are ever drawn."""
        return torch.tensor(self.labels).nonzero().squeeze(1)

    def _opened(self) -> Generator:
        with torch.random.fork_rng(devices=[]):  # what is drawn is about to be replaced
            generator = Generator(self._shape_of(*self.sizes))
        generator.load(self.generator)
        return generator


def _taken_counts(metrics: Sequence[MetricRecord]) -> Sequence[float] | None:
    """A client's label counts, taken out of what the strategy averages; None if it tells none."""
    for record in metrics:
        counts = entries_of(record).pop(COUNTS, None)
        if isinstance(counts, list) and np.isfinite(counts).all():
            return counts
    return None


def with_next_label(folded: State, noise: int) -> State:
    """Who asks it for a label gets what it makes for the next one, of the last the first."""
    by_label = folded["hidden.weight"][:, noise:].roll(-1, 1)
    weight = torch.cat((folded["hidden.weight"][:, :noise], by_label), 1)
    return {**folded, "hidden.weight": weight}


def _tensor(model: ArrayRecord, name: str) -> Tensor:
    return torch.from_numpy(numbers_of(model[name]).astype(np.float32))

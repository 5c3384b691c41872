"""A generator of latents by label (FedGen; Zhu et al. 2021, "Data-free knowledge distillation for
heterogeneous federated learning", section 4).

A latent is what a classifier's last layer sees: [latent] numbers. `lesson.py` teaches it,
`fedgen.py` has the server's strategy, `apps/guide.py` what clients do with what it makes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

State = dict[str, Tensor]
Noise = Literal["uniform", "normal"]
EPSILON, MOMENTUM = 1e-5, 0.1
"""Of the normalisation: added to variances, and the share of the newest batch in those kept."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator. `rectified`: the latents it imitates are at least 0."""

    classes: int
    latent: int
    noise: int
    hidden: int
    rectified: bool

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters, in order."""
        return {
            "hidden.weight": (self.hidden, self.noise + self.classes),
            "hidden.bias": (self.hidden,),
            "norm.weight": (self.hidden,),
            "norm.bias": (self.hidden,),
            "output.weight": (self.latent, self.hidden),
            "output.bias": (self.latent,),
        }

    def views(self, flat: Tensor) -> State:
        """The parts of a vector that holds them one after the other."""
        sizes = {name: math.prod(shape) for name, shape in self.parts.items()}
        pieces = torch.split(flat, list(sizes.values()))
        return {
            name: piece.view(shape)
            for piece, (name, shape) in zip(pieces, self.parts.items(), strict=True)
        }


class Generator:
    """noise [N, noise] and labels [N] -> latents [N, latent], by one hidden layer whose units are
    normalised over a batch while it learns, and by the `mean` and `variance` of batches afterwards.
    Drawn from torch's own generator.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.flat = torch.zeros(sum(map(math.prod, shape.parts.values())))
        self.parameters = shape.views(self.flat)
        for layer in ("hidden", "output"):
            weight = self.parameters[f"{layer}.weight"]
            bound = 1 / math.sqrt(weight.shape[1])
            weight.uniform_(-bound, bound)
            self.parameters[f"{layer}.bias"].uniform_(-bound, bound)
        self.parameters["norm.weight"].fill_(1.0)
        self.mean, self.variance = torch.zeros(shape.hidden), torch.ones(shape.hidden)

    def state(self) -> State:
        """A copy of all that makes it what it is."""
        return {
            "flat": self.flat.clone(),
            "mean": self.mean.clone(),
            "variance": self.variance.clone(),
        }

    def load(self, state: State) -> None:
        """Become the one whose state it is."""
        self.flat.copy_(state["flat"])
        self.mean.copy_(state["mean"])
        self.variance.copy_(state["variance"])

    def latents(self, noise: Tensor, labels: Tensor) -> Tensor:
        """What it makes once it has learnt."""
        made = folded_latents(self.folded(), noise, labels)
        return made.relu_() if self.shape.rectified else made

    def folded(self) -> State:
        """The same function without the normalisation, for who only reads it: `folded_latents`
        takes it.
        """
        own = self.parameters
        scale = own["norm.weight"] / torch.sqrt(self.variance + EPSILON)
        return {
            "hidden.weight": own["hidden.weight"] * scale.unsqueeze(1),
            "hidden.bias": (own["hidden.bias"] - self.mean) * scale + own["norm.bias"],
            "output.weight": own["output.weight"].clone(),
            "output.bias": own["output.bias"].clone(),
        }


def folded_latents(folded: Mapping[str, Tensor], noise: Tensor, labels: Tensor) -> Tensor:
    """noise [N, noise], labels [N] -> [N, latent], not rectified."""
    hidden = hidden_units(folded, noise, labels).relu_()
    return torch.addmm(folded["output.bias"], hidden, folded["output.weight"].t())


def hidden_units(parameters: Mapping[str, Tensor], noise: Tensor, labels: Tensor) -> Tensor:
    """Before anything is done to them: [N, hidden]."""
    weight = parameters["hidden.weight"]
    size = noise.shape[1]
    # A label's part of the product is a column of the weights.
    by_label = (weight[:, size:].t() + parameters["hidden.bias"]).index_select(0, labels)
    return torch.addmm(by_label, noise, weight[:, :size].t())


def draw(kind: Noise, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Noise."""
    if kind == "uniform":
        return torch.rand(shape, generator=generator)
    return torch.randn(shape, generator=generator)

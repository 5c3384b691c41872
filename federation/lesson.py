"""How a generator of latents learns from classifiers' last layers alone (Zhu et al. 2021, eq. 4;
the weights by label and the term for diversity are the released code's).

Gradients are derived by hand: a lesson is many steps of small products, where autograd takes twice
as long.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from covey.federation.latent_generator import (
    EPSILON,
    MOMENTUM,
    Generator,
    Noise,
    State,
    draw,
    hidden_units,
)


@dataclass(frozen=True)
class Heads:
    """The last layers of K clients: weight [K, classes, latent], bias [K, classes]; `shares`
    [K, classes]: how much each counts for a label, 1 in all.
    """

    weight: Tensor
    bias: Tensor
    shares: Tensor

    def logits(self, latents: Tensor) -> Tensor:
        """[N, latent] -> [K, N, classes]."""
        return torch.matmul(latents, self.weight.transpose(1, 2)) + self.bias.unsqueeze(1)

    def mean(self) -> "Heads":
        """One head, whose logits are the mean of theirs."""
        one = torch.ones(1, self.shares.shape[1])
        return Heads(self.weight.mean(0, True), self.bias.mean(0, True), one)


@dataclass(frozen=True)
class Lesson:
    """How a generator is trained in a round. `teacher`: the heads' own losses, weighed by label, or
    the loss of their mean logits (equation 4).
    """

    steps: int
    batch: int
    learning_rate: float
    decay: float
    """Of the learning rate, by round."""
    weight_decay: float
    diversity: float
    teacher: Literal["losses", "mean"]
    noise: Noise


def teach(
    generator: Generator,
    adam: dict[str, Any],
    heads: Heads,
    labels: Tensor,
    lesson: Lesson,
    number: int,
) -> dict[str, Any]:
    """Train it in place in round `number`, from 1, on labels drawn as often as `labels` [classes]
    says. Takes and returns the optimiser's state, empty at first. Draws from torch's own generator.
    """
    state = Adam.of(adam, len(generator.flat))
    rate = lesson.learning_rate * lesson.decay ** (number - 1)
    if lesson.teacher == "mean":
        heads = heads.mean()
    gradient = torch.zeros_like(generator.flat)
    parts = generator.shape.views(gradient)
    with one_torch_thread():
        for _ in range(lesson.steps):
            asked = torch.multinomial(labels, lesson.batch, replacement=True)
            noise = draw(lesson.noise, (lesson.batch, generator.shape.noise))
            descend(generator, heads, noise, asked, lesson.diversity, parts)
            state.step(generator.flat, gradient, rate, lesson.weight_decay)
    return vars(state)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Products as small as a lesson's take longer on several: they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def descend(
    generator: Generator,
    heads: Heads,
    noise: Tensor,
    asked: Tensor,
    diversity: float,
    gradient: State,
) -> None:
    """Write the gradient of a batch's loss; the batch counts in the kept mean and variance."""
    own, shape, count = generator.parameters, generator.shape, len(asked)
    hidden = hidden_units(own, noise, asked)
    variance, mean = torch.var_mean(hidden, 0, correction=0)
    generator.mean.lerp_(mean, MOMENTUM)
    generator.variance.lerp_(variance * (count / (count - 1)), MOMENTUM)
    scale = torch.rsqrt(variance + EPSILON)
    normal = (hidden - mean).mul_(scale)
    units = torch.addcmul(own["norm.bias"], normal, own["norm.weight"]).relu_()
    latents = torch.addmm(own["output.bias"], units, own["output.weight"].t())
    if shape.rectified:
        latents.relu_()
    behind = teachers_gradient(heads, latents, asked)
    if diversity > 0:
        behind.add_(sameness_gradient(noise, latents), alpha=diversity)
    if shape.rectified:
        behind.mul_(latents > 0)
    torch.mm(behind.t(), units, out=gradient["output.weight"])
    torch.sum(behind, 0, out=gradient["output.bias"])
    behind = (behind @ own["output.weight"]).mul_(units > 0)
    torch.sum(behind, 0, out=gradient["norm.bias"])
    torch.sum(behind * normal, 0, out=gradient["norm.weight"])
    # Through the normalisation (Ioffe and Szegedy 2015, section 3).
    bias, weight = gradient["norm.bias"] / count, gradient["norm.weight"] / count
    behind = (behind - bias - normal * weight).mul_(scale * own["norm.weight"])
    torch.sum(behind, 0, out=gradient["hidden.bias"])
    into = gradient["hidden.weight"]
    into[:, : shape.noise] = behind.t() @ noise
    by_label = torch.zeros(shape.classes, shape.hidden).index_add_(0, asked, behind)
    into[:, shape.noise :] = by_label.t()


def teachers_gradient(heads: Heads, latents: Tensor, asked: Tensor) -> Tensor:
    """Of the clients' own losses, weighed by label, with respect to the latents [N, latent]."""
    errors = torch.softmax(heads.logits(latents), 2)  # [K, N, classes]
    rows = torch.arange(len(asked))
    errors[:, rows, asked] -= 1
    errors *= (heads.shares[:, asked] / len(asked)).unsqueeze(2)
    return torch.bmm(errors, heads.weight).sum(0)


def sameness(noise: Tensor, latents: Tensor) -> Tensor:
    """1 where different noise makes the same latents, towards 0 where it makes different ones (Mao
    et al. 2019, in the released code's form).
    """
    apart = torch.cdist(noise, noise).square() / noise.shape[1]
    different = torch.cdist(latents, latents, p=1) / latents.shape[1]
    return torch.exp(-(apart * different).mean())


def sameness_gradient(noise: Tensor, latents: Tensor) -> Tensor:
    """With respect to the latents."""
    apart = torch.cdist(noise, noise).square_()  # [N, N]
    ways = (latents.unsqueeze(1) - latents.unsqueeze(0)).sign_()  # [N, N, latent]
    pulled = torch.bmm(apart.unsqueeze(1), ways).squeeze(1)
    count = len(latents) ** 2 * latents.shape[1] * noise.shape[1]
    return pulled.mul_(-2 / count * float(sameness(noise, latents)))


@dataclass
class Adam:
    """The optimiser's state (Kingma and Ba 2015, algorithm 1), of all parameters in one vector."""

    first: Tensor
    second: Tensor
    steps: int = 0

    @classmethod
    def of(cls, state: dict[str, Any], size: int) -> "Adam":
        """One that goes on, or a new one where there is nothing to go on from."""
        return cls(**state) if state else cls(torch.zeros(size), torch.zeros(size))

    def step(self, flat: Tensor, gradient: Tensor, rate: float, weight_decay: float) -> None:
        """Change the parameters in place, and the gradient: weights decay as if by a loss."""
        self.steps += 1
        gradient.add_(flat, alpha=weight_decay)
        self.first.lerp_(gradient, 1 - 0.9)
        self.second.lerp_(gradient.square_(), 1 - 0.999)
        size = torch.sqrt(self.second).div_(math.sqrt(1 - 0.999**self.steps)).add_(1e-8)
        flat.addcdiv_(self.first, size, value=-rate / (1 - 0.9**self.steps))

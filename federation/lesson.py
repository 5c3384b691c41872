"""How a generator of latents learns from classifiers' last layers alone (Zhu et al. 2021, eq. 4;
the weights by label and the term for diversity are the released code's).

Gradients are derived by hand: a lesson is many steps of small products, where autograd takes twice
as long.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from covey.federation.latent_generator import (
    EPSILON,
    MOMENTUM,
    Generator,
    Noise,
    State,
    draw,
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
        count = lesson.steps * lesson.batch
        asked = torch.multinomial(labels, count, replacement=True).view(lesson.steps, -1)
        noise = draw(lesson.noise, (*asked.shape, generator.shape.noise))
        for asking in Asking.of(heads, noise, asked):
            descend(generator, heads, asking, lesson.diversity, parts)
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


class Asking(NamedTuple):
    """What the generator is asked for in a step, N latents: the noise and, one-hot, the labels
    [N, noise + classes]; how much each of K heads counts for each [K, 1, N], and minus that where
    its label is [K, classes, N]; how far the noise of any two is apart, squared [N, N].
    """

    inputs: Tensor
    weights: Tensor
    target: Tensor
    apart: Tensor

    @classmethod
    def of(cls, heads: Heads, noise: Tensor, asked: Tensor) -> Iterator["Asking"]:
        """For each of S steps: noise [S, N, noise], labels [S, N]."""
        steps, count = asked.shape
        one_hot = torch.zeros(steps, count, heads.shares.shape[1]).scatter_(
            2, asked.unsqueeze(2), 1.0
        )
        weights = (heads.shares[:, asked] / count).transpose(0, 1).unsqueeze(2)
        target = -one_hot.transpose(1, 2).unsqueeze(1) * weights
        parts = torch.cat((noise, one_hot), 2), weights, target, torch.cdist(noise, noise).square_()
        return map(cls, *(part.unbind() for part in parts))


def descend(
    generator: Generator, heads: Heads, asking: Asking, diversity: float, gradient: State
) -> None:
    """Write the gradient of a batch's loss; the batch counts in the kept mean and variance."""
    own, shape, inputs = generator.parameters, generator.shape, asking.inputs
    count = len(inputs)
    normal = torch.addmm(own["hidden.bias"], inputs, own["hidden.weight"].t())
    mean = normal.mean(0)
    normal.sub_(mean)
    variance = normal.square().mean(0)
    generator.mean.lerp_(mean, MOMENTUM)
    generator.variance.lerp_(variance * (count / (count - 1)), MOMENTUM)
    scale = torch.rsqrt(variance + EPSILON)
    normal.mul_(scale)
    units = torch.addcmul(own["norm.bias"], normal, own["norm.weight"]).relu_()
    latents = torch.addmm(own["output.bias"], units, own["output.weight"].t())
    if shape.rectified:
        latents.relu_()
    behind = teachers_gradient(heads, latents, asking)
    if diversity > 0:
        behind.add_(sameness_gradient(asking.apart, latents, shape.noise), alpha=diversity)
    if shape.rectified:
        torch.ops.aten.threshold_backward.grad_input(behind, latents, 0, grad_input=behind)
    torch.mm(behind.t(), units, out=gradient["output.weight"])
    torch.sum(behind, 0, out=gradient["output.bias"])
    behind = behind @ own["output.weight"]
    torch.ops.aten.threshold_backward.grad_input(behind, units, 0, grad_input=behind)
    torch.sum(behind, 0, out=gradient["norm.bias"])
    torch.sum(behind * normal, 0, out=gradient["norm.weight"])
    # Through the normalisation (Ioffe and Szegedy 2015, section 3).
    behind.sub_(gradient["norm.bias"] / count)
    behind.addcmul_(normal, gradient["norm.weight"] / count, value=-1)
    behind.mul_(scale.mul_(own["norm.weight"]))
    torch.sum(behind, 0, out=gradient["hidden.bias"])
    torch.mm(behind.t(), inputs, out=gradient["hidden.weight"])


def teachers_gradient(heads: Heads, latents: Tensor, asking: Asking) -> Tensor:
    """Of the clients' own losses, weighed by label, with respect to the latents [N, latent]."""
    # All heads as one layer, and latents in columns, over which softmax is quick.
    weight = heads.weight.flatten(0, 1)
    logits = torch.addmm(heads.bias.reshape(-1, 1), weight, latents.t())
    errors = torch.softmax(logits.view(*heads.bias.shape, -1), 1)
    errors.mul_(asking.weights).add_(asking.target)
    return errors.flatten(0, 1).t() @ weight


def sameness(apart: Tensor, latents: Tensor, noise: int) -> Tensor:
    """1 where different noise makes the same latents, towards 0 where it makes different ones (Mao
    et al. 2019, in the released code's form). apart [N, N]: squared distances of the `noise`
    numbers of each.
    """
    different = torch.cdist(latents, latents, p=1)
    return torch.exp((apart * different).mean() / (-noise * latents.shape[1]))


def sameness_gradient(apart: Tensor, latents: Tensor, noise: int) -> Tensor:
    """With respect to the latents."""
    different = torch.cdist(latents, latents, p=1)
    size = latents.shape[1] * noise
    value = torch.exp((apart * different).mean() / -size)
    pulled = torch.ops.aten._cdist_backward(apart, latents, latents, 1.0, different)
    return pulled.mul_(value * (-2 / (len(latents) ** 2 * size)))  # type: ignore[no-any-return]


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

"""A generator of latents by label, which learns from classifiers' last layers alone (FedGen; Zhu et
al. 2021, "Data-free knowledge distillation for heterogeneous federated learning", section 4).

A latent is what a classifier's last layer sees: [latent] numbers. `fedgen.py` has the server's
strategy, `apps/guide.py` what clients do with what the generator makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

State = dict[str, Tensor]
Noise = Literal["uniform", "normal"]


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator. `rectified`: the latents it imitates are at least 0."""

    classes: int
    latent: int
    noise: int
    hidden: int
    rectified: bool


class Generator(nn.Module):
    """noise [N, noise] and labels [N] -> latents [N, latent], by one hidden layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(shape.noise + shape.classes, shape.hidden)
        self.norm = nn.BatchNorm1d(shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.latent)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """The latents."""
        asked = torch.cat((noise, one_hot(labels, self.shape.classes).to(noise.dtype)), 1)
        made: Tensor = self.output(torch.relu(self.norm(self.hidden(asked))))
        return torch.relu(made) if self.shape.rectified else made

    def folded(self) -> State:
        """The same function for who only reads it, without the normalisation: `folded_latents`
        takes it.
        """
        norm, hidden = self.norm, self.hidden
        assert norm.running_var is not None and norm.running_mean is not None
        with torch.no_grad():
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            return {
                "hidden.weight": hidden.weight * scale.unsqueeze(1),
                "hidden.bias": (hidden.bias - norm.running_mean) * scale + norm.bias,
                "output.weight": self.output.weight.clone(),
                "output.bias": self.output.bias.clone(),
            }


def folded_latents(folded: Mapping[str, Tensor], noise: Tensor, labels: Tensor) -> Tensor:
    """noise [N, noise], labels [N] -> [N, latent], not rectified."""
    weight = folded["hidden.weight"]
    size = noise.shape[1]
    # A label's part of the first product is a column of the weights.
    by_label = (weight[:, size:].t() + folded["hidden.bias"]).index_select(0, labels)
    hidden = torch.addmm(by_label, noise, weight[:, :size].t()).relu_()
    return torch.addmm(folded["output.bias"], hidden, folded["output.weight"].t())


def draw(kind: Noise, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Noise."""
    if kind == "uniform":
        return torch.rand(shape, generator=generator)
    return torch.randn(shape, generator=generator)


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
    adam: dict[int, Any],
    heads: Heads,
    labels: Tensor,
    lesson: Lesson,
    number: int,
) -> dict[int, Any]:
    """Train it in place in round `number`, from 1, on labels drawn as often as `labels` [classes]
    says. Takes and returns the optimiser's state, empty at first. Draws from torch's own generator.
    """
    rate = lesson.learning_rate * lesson.decay ** (number - 1)
    optimizer = torch.optim.Adam(generator.parameters(), rate, weight_decay=lesson.weight_decay)
    if adam:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": adam, "param_groups": groups})
    generator.train()
    for _ in range(lesson.steps):
        asked = torch.multinomial(labels, lesson.batch, replacement=True)
        noise = draw(lesson.noise, (lesson.batch, generator.shape.noise))
        latents = generator(noise, asked)
        loss = teachers_loss(heads, latents, asked, lesson)
        if lesson.diversity > 0:
            loss = loss + lesson.diversity * sameness(noise, latents)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    generator.eval()
    state: dict[int, Any] = optimizer.state_dict()["state"]
    return state


def teachers_loss(heads: Heads, latents: Tensor, asked: Tensor, lesson: Lesson) -> Tensor:
    """What the clients' heads think of the latents that were made for the labels `asked` [N]."""
    if lesson.teacher == "mean":
        logits = heads.logits(latents).mean(0)
        return nn.functional.cross_entropy(logits, asked)
    logs = log_softmax(heads.logits(latents), 2)
    chosen = asked.expand(len(logs), -1).unsqueeze(2)
    losses = -logs.gather(2, chosen).squeeze(2)  # [K, N]
    return (heads.shares[:, asked] * losses).sum(0).mean()


def sameness(noise: Tensor, latents: Tensor) -> Tensor:
    """1 where different noise makes the same latents, towards 0 where it makes different ones (Mao
    et al. 2019, in the released code's form).
    """
    apart = (noise.unsqueeze(0) - noise.unsqueeze(1)).square().mean(2)
    different = (latents.unsqueeze(0) - latents.unsqueeze(1)).abs().mean(2)
    return torch.exp(-(apart * different).mean())


def ensemble_accuracy(
    generator: Generator, heads: Heads, labels: Tensor, noise: Noise, each: int = 32
) -> float:
    """How often the mean of the heads' logits finds the label that a latent was made for, over
    `each` of every label that is drawn at all.
    """
    asked = torch.nonzero(labels > 0).squeeze(1).repeat_interleave(each)
    with torch.no_grad():
        latents = generator(draw(noise, (len(asked), generator.shape.noise)), asked)
        found = heads.logits(latents).mean(0).argmax(1)
    return float((found == asked).double().mean())

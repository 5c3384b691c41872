"""Data, local training and evaluation of the built-in apps."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from covey.federation.apps.settings import Settings
from covey.federation.data import load
from covey.federation.partition import dirichlet, iid


@lru_cache(maxsize=2)
def tensors(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: one copy for all clients of a process."""
    data = load(name)
    arrays = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, arrays)
    return train_images, train_labels, test_images, test_labels


@lru_cache(maxsize=2)
def partition(settings: Settings, clients: int) -> tuple[Tensor, ...]:
    """The indices of each client's training samples."""
    labels, seed = load(settings.data).train_labels, settings.partition_seed
    if settings.partition == "iid":
        parts = iid(labels, clients, seed, settings.min_size)
    else:
        parts = dirichlet(labels, clients, settings.alpha, seed, settings.min_size)
    return tuple(map(torch.from_numpy, parts))


Gradients = Sequence[Tensor]
Adjust = Callable[[Gradients, Sequence[Tensor]], Gradients]
"""What a strategy makes of a step's gradients, given the parameters: one of each a parameter."""


class Trained(NamedTuple):
    """The mean loss of the steps, and their number."""

    loss: float
    steps: int


def train(
    model: nn.Module, mine: Tensor, settings: Settings, adjust: Adjust | None = None
) -> Trained:
    """Plain stochastic gradient descent on the samples `mine`, in place.

    Each pass takes the samples in a new order; the last batch of a pass may be smaller.
    """
    images, labels, _, _ = tensors(settings.data)
    parameters = list(model.parameters())
    total, steps = torch.zeros(()), 0
    passes = 0
    while passes < settings.epochs or steps < settings.steps:
        order = mine[torch.randperm(len(mine))]
        # One gather a pass; its batches are views.
        batches = zip(
            torch.split(images[order], settings.batch_size),
            torch.split(labels[order], settings.batch_size),
            strict=True,
        )
        for batch_images, batch_labels in batches:
            loss = cross_entropy(model(batch_images), batch_labels)
            gradients: Gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                if adjust is not None:
                    gradients = adjust(gradients, parameters)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=settings.learning_rate)
            total += loss.detach()
            steps += 1
            if steps == settings.steps:
                break
        passes += 1
    return Trained(float(total) / steps, steps)


def proximal(model: nn.Module, mu: float) -> Adjust:
    """The gradient of mu/2 |w - start|^2 beside that of the loss; start is the model as it is now.

    FedProx (Li et al. 2020, equation 2).
    """
    start = [parameter.detach().clone() for parameter in model.parameters()]

    def adjust(gradients: Gradients, parameters: Sequence[Tensor]) -> Gradients:
        return [
            gradient + mu * (parameter - origin)
            for gradient, parameter, origin in zip(gradients, parameters, start, strict=True)
        ]

    return adjust


def corrected(corrections: Gradients) -> Adjust:
    """The same correction beside the gradient of every step: SCAFFOLD's."""

    def adjust(gradients: Gradients, _parameters: Sequence[Tensor]) -> Gradients:
        return [
            gradient + correction
            for gradient, correction in zip(gradients, corrections, strict=True)
        ]

    return adjust


def loss_on(model: nn.Module, mine: Tensor, settings: Settings) -> float:
    """The mean loss on the samples `mine`, without training."""
    images, labels, _, _ = tensors(settings.data)
    with torch.no_grad():
        return float(cross_entropy(model(images[mine]), labels[mine]))


def evaluate(model: nn.Module, data: str) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the data set's test samples."""
    _, _, images, labels = tensors(data)
    with torch.no_grad():
        logits = model(images)
        loss = cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
    return float(accuracy), float(loss)

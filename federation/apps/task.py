"""Data, local training and evaluation of the built-in apps."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from covey.federation.apps.settings import Settings
from covey.federation.apps.shares import shares
from covey.federation.data import load

PIECE = 1000
"""Samples that are measured at once."""


@lru_cache(maxsize=2)
def tensors(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels: one copy for all clients of a process."""
    data = load(name)
    arrays = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, arrays)
    return train_images, train_labels, test_images, test_labels


@lru_cache(maxsize=2)
def partition(settings: Settings, clients: int) -> tuple[Tensor, ...]:
    """The indices of the samples that each client trains on."""
    return tuple(torch.from_numpy(share.train) for share in shares(settings, clients))


@lru_cache(maxsize=2)
def held_out(settings: Settings, clients: int) -> tuple[Tensor, ...]:
    """The indices of the training samples that each client is measured on; some may have none."""
    return tuple(torch.from_numpy(share.held_out) for share in shares(settings, clients))


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
    for order in passes_of(mine, settings):
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


def passes_of(
    mine: Tensor, settings: Settings, generator: torch.Generator | None = None
) -> list[Tensor]:
    """The passes over the samples `mine` that hold all epochs or steps, each in a new order."""
    count = settings.epochs or -(-settings.steps // -(-len(mine) // settings.batch_size))
    return [mine[torch.randperm(len(mine), generator=generator)] for _ in range(count)]


def evaluate(model: nn.Module, data: str) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the data set's test samples."""
    _, _, images, labels = tensors(data)
    return measure(model, images, labels)


def evaluate_held_out(model: nn.Module, mine: Tensor, settings: Settings) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the training samples `mine`."""
    images, labels, _, _ = tensors(settings.data)
    return measure(model, images[mine], labels[mine])


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and mean cross-entropy; both 0 for no samples at all."""
    right, loss = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        # In pieces: what convolutions make of 10,000 images at once takes 400 MB.
        for some, theirs in zip(
            torch.split(images, PIECE), torch.split(labels, PIECE), strict=True
        ):
            logits = model(some)
            right += (logits.argmax(1) == theirs).sum()
            loss += cross_entropy(logits, theirs, reduction="sum")
    count = max(1, len(labels))
    return float(right) / count, float(loss) / count

"""Data, local training and evaluation of the built-in apps."""

from functools import lru_cache

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


def train(model: nn.Module, mine: Tensor, settings: Settings) -> float:
    """Plain stochastic gradient descent on the samples `mine`, in place.

    Returns the mean loss of the steps.

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
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=settings.learning_rate)
            total += loss.detach()
            steps += 1
            if steps == settings.steps:
                break
    return float(total) / steps


def passes_of(
    mine: Tensor, settings: Settings, generator: torch.Generator | None = None
) -> list[Tensor]:
    """The passes over the samples `mine` that hold all epochs or steps, each in a new order."""
    count = settings.epochs or -(-settings.steps // -(-len(mine) // settings.batch_size))
    return [mine[torch.randperm(len(mine), generator=generator)] for _ in range(count)]


def evaluate(model: nn.Module, data: str) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the data set's test samples."""
    _, _, images, labels = tensors(data)
    with torch.no_grad():
        logits = model(images)
        loss = cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
    return float(accuracy), float(loss)

"""Data and evaluation of the built-in apps; `local_sgd.py` trains."""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from covey.federation.apps.settings import Settings
from covey.federation.apps.shares import shares
from covey.federation.data import load

PIECE = 250
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


def loss_on(model: nn.Module, mine: Tensor, settings: Settings) -> float:
    """The mean loss on the samples `mine`, without training."""
    images, labels, _, _ = tensors(settings.data)
    with torch.no_grad():
        return float(cross_entropy(model(images[mine]), labels[mine]))


def evaluate(model: nn.Module, data: str) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the data set's test samples."""
    _, _, images, labels = tensors(data)
    return measure(model, images, labels)[:2]


@lru_cache(maxsize=2)
def holders(settings: Settings, clients: int) -> Tensor:
    """How many clients train on each label: [classes]."""
    _, labels, _, _ = tensors(settings.data)
    classes = load(settings.data).classes
    has = [
        torch.bincount(labels[mine], minlength=classes) > 0 for mine in partition(settings, clients)
    ]
    return torch.stack(has).sum(0)


def evaluate_seen(model: nn.Module, settings: Settings, clients: int) -> tuple[float, float, float]:
    """Accuracy and mean cross-entropy on the test samples, and the accuracy on those that clients
    know: every client counts those of the labels that it trains on (Zhu et al. 2021, the released
    code's test).
    """
    _, _, images, labels = tensors(settings.data)
    accuracy, loss, right = measure(model, images, labels)
    held = holders(settings, clients).double()
    count = torch.bincount(labels, minlength=len(held)).double()
    found = torch.bincount(labels[right], minlength=len(held)).double()
    return accuracy, loss, float((held * found).sum() / (held * count).sum())


def evaluate_own(model: nn.Module, mine: Tensor, settings: Settings) -> dict[str, int | float]:
    """A client's figures of a model of its own on the test samples; of those of the labels that are
    among its training samples `mine`, how many there are, and how many of them it finds.
    """
    _, known, images, labels = tensors(settings.data)
    accuracy, loss, right = measure(model, images, labels)
    has = torch.bincount(known[mine], minlength=load(settings.data).classes) > 0
    seen = has[labels]
    return {
        "accuracy": accuracy,
        "loss": loss,
        "seen": int(seen.sum()),
        "seen-right": int((seen & right).sum()),
        "num-examples": len(labels),
    }


def evaluate_held_out(model: nn.Module, mine: Tensor, settings: Settings) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on the training samples `mine`."""
    images, labels, _, _ = tensors(settings.data)
    return measure(model, images[mine], labels[mine])[:2]


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float, Tensor]:
    """Accuracy and mean cross-entropy, both 0 for no samples at all, and which are right [N]."""
    right, loss = torch.zeros(len(labels), dtype=torch.bool), torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        # In pieces: what convolutions make of 10,000 images at once takes 400 MB.
        for first in range(0, len(labels), PIECE):
            piece = slice(first, first + PIECE)
            logits, theirs = model(images[piece]), labels[piece]
            right[piece] = logits.argmax(1) == theirs
            loss += cross_entropy(logits, theirs, reduction="sum")
    count = max(1, len(labels))
    return float(right.sum()) / count, float(loss) / count, right

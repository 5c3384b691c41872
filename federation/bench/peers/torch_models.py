"""The models as anybody would write them in PyTorch, the layers named as Covey's are."""

from collections import OrderedDict

import torch
from task import Task
from torch import Tensor, nn


def logistic() -> nn.Module:
    return nn.Sequential(OrderedDict(output=nn.Linear(784, 10)))


def mlp() -> nn.Module:
    layers = {"hidden": nn.Linear(784, 128), "relu": nn.ReLU(), "output": nn.Linear(128, 10)}
    return nn.Sequential(OrderedDict(layers))


def cnn() -> nn.Module:
    layers = {
        "image": nn.Unflatten(1, (1, 28, 28)),
        "convolution1": nn.Conv2d(1, 8, 5, padding=2),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "convolution2": nn.Conv2d(8, 16, 5, padding=2),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flat": nn.Flatten(),
        "hidden": nn.Linear(784, 64),
        "relu3": nn.ReLU(),
        "output": nn.Linear(64, 10),
    }
    return nn.Sequential(OrderedDict(layers))


MODELS = {"logistic": logistic, "mlp": mlp, "cnn": cnn}


def first_weights(task: Task) -> dict[str, Tensor]:
    """The first global model's, as a state dict."""
    return {name: torch.from_numpy(array) for name, array in task.weights.items()}


@torch.no_grad()
def accuracy(model: nn.Module, task: Task) -> float:
    """On the test set, in pieces: the convolutions' activations are large."""
    images, labels = torch.from_numpy(task.test_images), torch.from_numpy(task.test_labels)
    right = [
        (model(some).argmax(1) == theirs).sum()
        for some, theirs in zip(images.split(1000), labels.split(1000), strict=True)
    ]
    return float(torch.stack(right).sum()) / len(labels)

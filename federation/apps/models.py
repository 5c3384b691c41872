"""The models of the built-in apps, for flattened images."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

HIDDEN = 128


class Logistic(nn.Module):
    """Multinomial logistic regression: images [B, pixels] -> logits [B, classes]."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalised log probabilities of the classes."""
        logits: Tensor = self.output(images)
        return logits


class Mlp(nn.Module):
    """One hidden layer of 128 rectified units: images [B, pixels] -> logits [B, classes]."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, HIDDEN)
        self.output = nn.Linear(HIDDEN, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalised log probabilities of the classes."""
        logits: Tensor = self.output(torch.relu(self.hidden(images)))
        return logits


MODELS: dict[str, Any] = {"logistic": Logistic, "mlp": Mlp}


def make_model(name: str, pixels: int, classes: int) -> nn.Module:
    """A model with weights drawn from torch's generator."""
    model: nn.Module = MODELS[name](pixels, classes)
    return model


@lru_cache(maxsize=4)
def spare_model(name: str, pixels: int, classes: int) -> nn.Module:
    """A model whose weights are about to be replaced: made once a process, and without a trace in
    torch's generator.
    """
    with torch.random.fork_rng(devices=[]):
        return make_model(name, pixels, classes)

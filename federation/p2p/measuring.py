"""How good peers' models are, and how far they are from each other."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from covey.federation.apps.batched import linear
from covey.federation.apps.models import spare_model
from covey.federation.apps.task import PIECE
from covey.federation.data import load
from covey.federation.p2p.links import Rows
from covey.federation.p2p.task import Task, views

TOGETHER = 50
"""Peers that are measured at once."""
COLUMNS = 4096
"""Of vectors that are compared at once, to be found in the processor's cache."""
Floats = NDArray[np.float64]


def accuracies(task: Task, params: Rows, images: Tensor, labels: Tensor) -> Floats:
    """Each peer's share of right answers [n], for params [n, D]."""
    images = images.to(torch.from_numpy(params).dtype)
    right = torch.zeros(len(params), dtype=torch.int64)
    with torch.no_grad():
        for first in range(0, len(params), TOGETHER):
            some = slice(first, first + TOGETHER)
            weights = views(params[some], task.shapes)
            for start in range(0, len(images), PIECE):
                piece = slice(start, start + PIECE)
                answers = _logits(task, weights, images[piece]).argmax(1)
                right[some] += (answers == labels[piece]).sum(1)
    found: Floats = right.double().numpy() / max(1, len(labels))
    return found


def disagreement(params: Rows) -> float:
    """The root mean square of the peers' distances to their mean vector, over its length; 0 where
    that is 0.
    """
    apart = length = 0.0
    for first in range(0, params.shape[1], COLUMNS):
        piece = params[:, first : first + COLUMNS].astype(np.float64)
        mean = piece.mean(0)
        apart += float(((piece - mean) ** 2).sum())
        length += float(mean @ mean)
    return float(np.sqrt(apart / len(params) / length)) if length else 0.0


def spread(values: Floats, name: str) -> dict[str, float]:
    """Mean, least and greatest, under three names."""
    return {
        name: float(values.mean()),
        f"{name}_min": float(values.min()),
        f"{name}_max": float(values.max()),
    }


def _logits(task: Task, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """[peers, classes, B]"""
    app, columns = task.section.app, images.T
    if app in ("logistic", "mlp"):
        hidden = columns.expand(len(weights["output.bias"]), *columns.shape)
        if app == "mlp":
            weight = weights["hidden.weight"]
            # One product of all peers' units, whose inputs are the same.
            units = (weight.reshape(-1, weight.shape[2]) @ columns).view(*weight.shape[:2], -1)
            hidden = units.add_(weights["hidden.bias"].unsqueeze(2)).relu_()
        return linear(weights["output.weight"], weights["output.bias"], hidden)
    data = load(task.settings.data)
    model = spare_model(app, data.pixels, data.classes, data.spec.image)
    each = (
        functional_call(model, {name: array[row] for name, array in weights.items()}, (images,)).T
        for row in range(len(weights["output.bias"]))
    )
    return torch.stack(list(each))

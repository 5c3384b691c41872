"""A step of many clients' convolutional networks at once.

The convolutions go client by client, the linear layers together. With 10 clients' minibatches of 32
MNIST images on one core, `vmap` of the whole network takes 1.6 to 2 times as long as one client
after the other, for torch makes one convolution with groups of it, and what lies between the layers
leaves the processor's cache; products of unfolded images take 7 times as long. This takes as long.
"""

from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from covey.federation.apps.batched import (
    Descent,
    Step,
    Weights,
    descend_two_layers,
    some_at_once,
    through_two_layers,
)
from covey.federation.apps.minibatches import Batch
from covey.federation.apps.models import convolved
from covey.federation.sample_spec import ImageSize

CONVOLUTIONS = [(f"{layer}.weight", f"{layer}.bias") for layer in ("convolution1", "convolution2")]
NAMES = [name for layer in CONVOLUTIONS for name in layer]

TOGETHER = 8
"""Clients whose convolutions are kept at once: 2 MB each for minibatches of 32 MNIST images."""


def cnn_step(image: ImageSize) -> Step:
    """The step of networks for images of that size."""

    return some_at_once(partial(_step, image), TOGETHER)


def _step(image: ImageSize, weights: Weights, batch: Batch, way: Descent) -> None:
    fronts = [_Front(weights, batch, client, image) for client in range(len(batch.sizes))]
    # Where a client has fewer samples than others, what is filled up counts nothing.
    features = pad_sequence([front.features.detach() for front in fronts], batch_first=True)
    found = through_two_layers(weights, features, batch)
    errors = torch.bmm(found.behind.transpose(1, 2), weights["hidden.weight"])
    gradients = [front.gradients(error) for front, error in zip(fronts, errors, strict=True)]
    descend_two_layers(weights, features, found, way)
    for name, parts in zip(NAMES, zip(*gradients, strict=True), strict=True):
        way.against(weights, name, torch.stack(parts))


class _Front:
    """One client's convolutions. `features` [size of its minibatch, features]."""

    def __init__(self, weights: Weights, batch: Batch, client: int, image: ImageSize) -> None:
        self._layers = [
            (weights[weight][client].requires_grad_(), weights[bias][client].requires_grad_())
            for weight, bias in CONVOLUTIONS
        ]
        images = batch.images[client, : batch.sizes[client]]
        self.features = convolved(images, image, self._layers)

    def gradients(self, errors: Tensor) -> tuple[Tensor, ...]:
        """With respect to the weights by `NAMES`. errors: the gradient with respect to the
        features, and to what they were filled up with.
        """
        weights = [tensor for layer in self._layers for tensor in layer]
        return torch.autograd.grad(self.features, weights, errors[: len(self.features)])

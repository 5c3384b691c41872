"""A step of many clients' convolutional networks at once.

The convolutions go client by client, the linear layers together. `vmap` of the whole network is
slower than client after client: torch makes one convolution with groups of it, and what lies
between the layers leaves the processor's cache. So are products of unfolded images.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from covey.federation.apps.batched import (
    Batch,
    Step,
    Weights,
    descend_two_layers,
    through_two_layers,
)
from covey.federation.apps.models import convolved
from covey.federation.sample_spec import ImageSize

CONVOLUTIONS = (
    ("convolution1.weight", "convolution1.bias"),
    (
        "convolution2.weight",
        "convolution2.bias",
    ),
)
NAMES = [name for layer in CONVOLUTIONS for name in layer]


def cnn_step(image: ImageSize) -> Step:
    """The step of networks for images of that size."""

    def step(weights: Weights, batch: Batch, rate: float) -> Tensor:
        fronts = [_Front(weights, batch, client, image) for client in range(len(batch.sizes))]
        # Where a client has fewer samples than others, what is filled up counts nothing.
        features = pad_sequence([front.features.detach() for front in fronts], batch_first=True)
        found = through_two_layers(weights, features, batch)
        errors = torch.bmm(found.behind, weights["hidden.weight"])
        gradients = [front.gradients(error) for front, error in zip(fronts, errors, strict=True)]
        descend_two_layers(weights, features, found, rate)
        for name, parts in zip(NAMES, zip(*gradients, strict=True), strict=True):
            weights[name].sub_(torch.stack(parts), alpha=rate)
        return found.losses

    return step


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

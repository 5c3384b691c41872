"""The models of the built-in apps, for flattened images."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from covey.federation.sample_spec import SMALLEST_IMAGE, ImageSize

HIDDEN = 128
CHANNELS = (8, 16)
CNN_HIDDEN = 64


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


class Cnn(nn.Module):
    """Two convolutions of 5 by 5, each with a 2 by 2 maximum, and two linear layers.

    images [B, pixels] -> logits [B, classes]. The network of McMahan et al. 2017, section 3, with a
    quarter of its widths (8 and 16 channels, 64 hidden units): 54,314 numbers for MNIST instead of
    1,663,370, and a twelfth of the time a step on one core. Images are at least 4 by 4.
    """

    def __init__(self, image: ImageSize | None, classes: int) -> None:
        super().__init__()
        if image is None or min(image.height, image.width) < SMALLEST_IMAGE:
            raise ValueError(f"cnn needs images of {SMALLEST_IMAGE} by {SMALLEST_IMAGE} or more")
        self.image = image
        self.convolution1 = nn.Conv2d(image.channels, CHANNELS[0], 5, padding=2)
        self.convolution2 = nn.Conv2d(*CHANNELS, 5, padding=2)
        left = (image.height // 4) * (image.width // 4) * CHANNELS[1]
        self.hidden = nn.Linear(left, CNN_HIDDEN)
        self.output = nn.Linear(CNN_HIDDEN, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalised log probabilities of the classes."""
        first, second = self.convolution1, self.convolution2
        assert first.bias is not None and second.bias is not None
        layers = (first.weight, first.bias), (second.weight, second.bias)
        features = convolved(images, self.image, layers)
        logits: Tensor = self.output(torch.relu(self.hidden(features)))
        return logits


def convolved(images: Tensor, image: ImageSize, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """What the convolutions of a `Cnn`, weight and bias of each, make of images [B, pixels]:
    [B, features].
    """
    # [B, pixels] -> [B, channels, height, width]; as the channels lie side by side, torch takes
    # the fast way through what follows.
    x = images.view(len(images), *image).permute(0, 3, 1, 2)
    for weight, bias in layers:
        # The same numbers as the other way round, with a quarter of the units to rectify.
        x = torch.relu(max_pool2d(conv2d(x, weight, bias, padding=2), 2))
    return x.flatten(1)


def make_model(name: str, pixels: int, classes: int, image: ImageSize | None = None) -> nn.Module:
    """A model with weights drawn from torch's generator.

    `image` tells how the pixels lie; only a cnn needs it, and raises ValueError without.
    """
    if name == "cnn":
        return Cnn(image, classes)
    return MODELS[name](pixels, classes)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"logistic": Logistic, "mlp": Mlp}


@lru_cache(maxsize=4)
def spare_model(name: str, pixels: int, classes: int, image: ImageSize | None = None) -> nn.Module:
    """A model whose weights are about to be replaced: made once a process, and without a trace in
    torch's generator.
    """
    with torch.random.fork_rng(devices=[]):
        return make_model(name, pixels, classes, image)

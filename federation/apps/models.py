"""The models of the built-in apps, for flattened images."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d

from covey.federation.sample_spec import SMALLEST_IMAGE, ImageSize
from covey.federation.section import HIDDEN

CHANNELS = (8, 16)
CNN_HIDDEN = 64
STRIDED_CHANNELS = (6, 16)
LATENT = 32
LAYERS = ("convolution1", "convolution2")
EPSILON, MOMENTUM = 1e-5, 0.1
"""Of batch normalisation: added to variances, and the share of the newest batch in running ones."""


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
    """One hidden layer of rectified units: images [B, pixels] -> logits [B, classes]."""

    def __init__(self, pixels: int, classes: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, hidden)
        self.output = nn.Linear(hidden, classes)

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
        self.image = _big_enough("cnn", image)
        self.convolution1 = nn.Conv2d(self.image.channels, CHANNELS[0], 5, padding=2)
        self.convolution2 = nn.Conv2d(*CHANNELS, 5, padding=2)
        left = (self.image.height // 4) * (self.image.width // 4) * CHANNELS[1]
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


class Norm(nn.Module):
    """Batch normalisation over images [B, channels, height, width] without a count of batches.

    Its running variances may have been averaged, changed by a server's optimiser or drowned in
    noise: below 0 they count as 0.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, images: Tensor) -> Tensor:
        """By the batch's own mean and variance in training, else by the running ones."""
        own = self.weight, self.bias
        if self.training:
            running = self.running_mean, self.running_var
            return batch_norm(images, *running, *own, True, MOMENTUM, EPSILON)
        variance = self.running_var.clamp(min=0)
        return batch_norm(images, self.running_mean, variance, *own, False, MOMENTUM, EPSILON)


class StridedCnn(nn.Module):
    """The network of FedGen's experiments (Zhu et al. 2021, the released code): two convolutions of
    3 by 3 with stride 2, 6 and 16 channels, each normalised and rectified, then a linear layer to a
    latent of 32, not rectified, and one to the classes. 26,456 numbers for MNIST, 44 of them
    running means and variances, which are averaged like the others.

    images [B, pixels] -> logits [B, classes]. Images are at least 4 by 4. The convolutions have no
    bias: normalisation takes it away.
    """

    def __init__(self, image: ImageSize | None, classes: int) -> None:
        super().__init__()
        self.image = _big_enough("strided-cnn", image)
        first, second = STRIDED_CHANNELS
        how = {"stride": 2, "padding": 1, "bias": False}
        self.convolution1 = nn.Conv2d(self.image.channels, first, 3, **how)  # type: ignore[arg-type]
        self.norm1 = Norm(first)
        self.convolution2 = nn.Conv2d(first, second, 3, **how)  # type: ignore[arg-type]
        self.norm2 = Norm(second)
        height, width = ((side + 3) // 4 for side in (self.image.height, self.image.width))
        self.hidden = nn.Linear(height * width * second, LATENT)
        self.output = nn.Linear(LATENT, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Unnormalised log probabilities of the classes."""
        x = images.view(len(images), *self.image).permute(0, 3, 1, 2)
        # Channel after channel, and said so even if there is one only: a quarter of the time.
        x = x.reshape(len(images), -1, *self.image[:2])
        x = torch.relu(self.norm1(self.convolution1(x)))
        x = torch.relu(self.norm2(self.convolution2(x)))
        logits: Tensor = self.output(self.hidden(x.flatten(1)))
        return logits


def _big_enough(name: str, image: ImageSize | None) -> ImageSize:
    if image is None or min(image.height, image.width) < SMALLEST_IMAGE:
        raise ValueError(f"{name} needs images of {SMALLEST_IMAGE} by {SMALLEST_IMAGE} or more")
    return image


def make_model(
    name: str, pixels: int, classes: int, image: ImageSize | None = None, hidden: int = HIDDEN
) -> nn.Module:
    """A model with weights drawn from torch's generator, as it is when it does not train.

    `image` tells how the pixels lie; only convolutions need it, and raise ValueError without.
    `hidden`: units of an mlp.
    """
    if name == "mlp":
        return Mlp(pixels, classes, hidden).eval()
    if name in OF_IMAGES:
        return OF_IMAGES[name](image, classes).eval()
    return MODELS[name](pixels, classes).eval()


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"logistic": Logistic}
OF_IMAGES: dict[str, Callable[[ImageSize | None, int], nn.Module]] = {
    "cnn": Cnn,
    "strided-cnn": StridedCnn,
}


@lru_cache(maxsize=4)
def spare_model(
    name: str, pixels: int, classes: int, image: ImageSize | None = None, hidden: int = HIDDEN
) -> nn.Module:
    """A model whose weights are about to be replaced: made once a process, and without a trace in
    torch's generator.
    """
    with torch.random.fork_rng(devices=[]):
        return make_model(name, pixels, classes, image, hidden)

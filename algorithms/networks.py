"""The networks that a learner trains. `policy.py` acts with the same weights, without torch."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from covey.platform.runtime.spaces import Spaces

Activation = Literal["tanh", "relu"]


class ActorCritic(nn.Module):
    """A policy head and a value head on two multilayer perceptrons, or on a shared one.

    Parameters are named torso.*, actor.* and critic.*, layer by layer; `log_std` is there for
    continuous actions. Input: encoded and normalised observations [N, width], or images, whose
    torso is always a shared one and begins with convolutions.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden: Sequence[int],
        activation: Activation,
        share_torso: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        gain = math.sqrt(2.0)
        image = spaces.observation.is_image
        share_torso = share_torso or image
        convolutions = [ImageTorso(spaces.observation.shape, generator)] if image else []
        inputs = convolutions[0].width if image else spaces.observation.width
        widths = [inputs, *hidden]

        def perceptron(head: int, head_gain: float) -> list[nn.Module]:
            own = [] if share_torso else layers(widths, gain, activation, generator)
            return [*own, linear(widths[-1], head, head_gain, generator)]

        shared = layers(widths, gain, activation, generator) if share_torso else []
        self.torso = nn.Sequential(*convolutions, *shared)
        # A small first policy is close to uniform, so early updates are not led by chance.
        self.actor = nn.Sequential(*perceptron(spaces.action.width, 0.01))
        self.critic = nn.Sequential(*perceptron(1, 1.0))
        self.discrete = spaces.action.kind == "discrete"
        if not self.discrete:
            self.log_std = nn.Parameter(torch.zeros(spaces.action.width))

    def value(self, observations: Tensor) -> Tensor:
        """Values [N]."""
        values: Tensor = self.critic(self.torso(observations)).squeeze(-1)
        return values

    def evaluate(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of `actions` and entropies, [N] each, and values [M] of all
        observations, of which the first N led to those actions.
        """
        torso = self.torso(observations)
        head, values = self.actor(torso[: len(actions)]), self.critic(torso).squeeze(-1)
        if self.discrete:
            return *categorical(head, actions), values
        return *gaussian(head, self.log_std, actions), values


class ImageTorso(nn.Module):
    """The convolutions of Mnih et al. 2013 (section 5.1) on bytes; output [N, width]."""

    def __init__(self, shape: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        # Channels are the shortest side: four stacked frames in front, or colours at the end.
        self.channels_last = shape[-1] < shape[0]
        channels, height, width = (shape[-1], *shape[:2]) if self.channels_last else shape
        self.first = convolution(channels, 16, 8, 4, generator)
        self.second = convolution(16, 32, 4, 2, generator)
        sides = [((side - 8) // 4 + 1 - 4) // 2 + 1 for side in (height, width)]
        self.width = 32 * sides[0] * sides[1]

    def forward(self, images: Tensor) -> Tensor:
        if self.channels_last:
            images = images.permute(0, 3, 1, 2)
        if torch.is_grad_enabled() and can_be_blocks(images):
            hidden = self._over_blocks(images)
        else:
            hidden = self.first(images / 255)
        output: Tensor = self.second(hidden.relu_()).relu_().flatten(1)
        return output

    def _over_blocks(self, images: Tensor) -> Tensor:
        """The first layer, 8 x 8 with stride 4, as one of 2 x 2 over blocks of 4 x 4 pixels, which
        takes half the time with its gradient: four channels do not fill a processor's vectors.
        """
        weight, bias = self.first.weight, self.first.bias
        outputs, channels = weight.shape[:2]
        split = weight.view(outputs, channels, 2, 4, 2, 4).permute(0, 1, 3, 5, 2, 4)
        kernel = split.reshape(outputs, channels * 16, 2, 2) / 255
        return nn.functional.conv2d(blocks(images).float(), kernel, bias)


def can_be_blocks(images: Tensor) -> bool:
    """Whether they are whole blocks of 4 x 4 bytes, in one piece."""
    sides = images.shape[-2:]
    whole = not any(side % 4 for side in sides)
    return images.dtype == torch.uint8 and whole and images.is_contiguous()


def blocks(images: Tensor) -> Tensor:
    """Images [N, C, H, W] of bytes as [N, 16 C, H / 4, W / 4], the channels last in memory."""
    count, channels, height, width = images.shape
    words = images.view(torch.int32)  # four pixels of a row: moved together they cost a quarter
    parted = words.view(count, channels, height // 4, 4, width // 4).permute(0, 2, 4, 1, 3)
    return parted.contiguous().view(torch.uint8).flatten(3).permute(0, 3, 1, 2)


def convolution(
    inputs: int, outputs: int, size: int, stride: int, generator: torch.Generator
) -> nn.Conv2d:
    """A layer with orthogonal kernels, drawn from `generator` alone, and biases of zero."""
    layer = nn.Conv2d(inputs, outputs, size, stride, device="meta").to_empty(device="cpu")
    nn.init.orthogonal_(layer.weight, math.sqrt(2.0), generator=generator)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def layers(
    widths: Sequence[int], gain: float, activation: Activation, generator: torch.Generator
) -> list[nn.Module]:
    """Linear layers between these widths, each followed by the activation."""
    made: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        made.append(linear(inputs, outputs, gain, generator))
        made.append(nn.Tanh() if activation == "tanh" else nn.ReLU())
    return made


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """A layer with orthogonal weights, drawn from `generator` alone, and biases of zero."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def categorical(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N] of integer actions [N] and entropies [N] for logits [N, A]."""
    logp = logits.log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    return logp.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy


def gaussian(mean: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """The same for actions [N, A] of a diagonal normal with mean [N, A] and log_std [A]."""
    normalised = (actions - mean) * (-log_std).exp()
    constant = log_std.sum() + 0.5 * math.log(2 * math.pi) * log_std.numel()
    logp = -0.5 * normalised.square().sum(-1) - constant
    entropy = (constant + 0.5 * log_std.numel()).expand_as(logp)
    return logp, entropy


def flatten_parameters(module: nn.Module) -> nn.Parameter:
    """Lay all parameters of a module, and their gradients, side by side in one vector; return it.

    The module's own parameters become views into it. Clipping and the optimiser's step are then one
    operation each instead of one a layer, which is most of the time of an update of small networks.
    The gradient is to be zeroed in place, never replaced.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = flat.data[start:end].view_as(parameter)
        parameter.grad = flat.grad[start:end].view_as(parameter)
        start = end
    return flat

"""Action values for images, by torch's convolutions and autograd."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from covey.algorithms.networks import Activation, ImageTorso, flatten_parameters, layers, linear
from covey.algorithms.q_mlp import dueling_values
from covey.platform.runtime.spaces import Spaces


def image_network(
    spaces: Spaces,
    hidden: Sequence[int],
    activation: Activation,
    dueling: bool,
    generator: torch.Generator,
) -> nn.Sequential:
    """Bytes [N, ...] to action values, or the head of a dueling network."""
    torso = ImageTorso(spaces.observation.shape, generator)
    widths = [torso.width, *hidden]
    return nn.Sequential(
        torso,
        *layers(widths, 2**0.5, activation, generator),
        linear(widths[-1], spaces.action.choices + dueling, 1.0, generator),
    )


class ImageQNetwork:
    """See `QNetwork`. Observations are bytes [N, ...]."""

    def __init__(
        self,
        spaces: Spaces,
        hidden: Sequence[int],
        activation: Activation,
        dueling: bool,
        generator: torch.Generator,
    ) -> None:
        self._dueling = dueling
        self._net, self._target_net = (
            image_network(spaces, hidden, activation, dueling, generator) for _ in range(2)
        )
        flat = flatten_parameters(self._net)
        assert flat.grad is not None
        self.parameters, self.gradient = flat.data, flat.grad
        self.target = flatten_parameters(self._target_net).data
        self.target.copy_(self.parameters)
        self._values = torch.empty(0)

    def take(self, rows: int) -> None:
        """Nothing: torch finds room each time."""

    def values(self, observations: Tensor) -> Tensor:
        self._values = self._actions(self._net(observations))
        return self._values.detach()

    @torch.no_grad()
    def target_values(self, observations: Tensor) -> Tensor:
        return self._actions(self._target_net(observations))

    def backward(self, slopes: Tensor) -> None:
        self.gradient.zero_()
        self._values.backward(slopes)  # type: ignore[no-untyped-call]

    def _actions(self, head: Tensor) -> Tensor:
        return dueling_values(head) if self._dueling else head

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            f"{name}.{key}": tensor.numpy().copy()
            for name, net in (("q", self._net), ("target", self._target_net))
            for key, tensor in net.state_dict().items()
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        load_network(self._net, "q.", arrays)
        load_network(self._target_net, "target.", arrays)


class ImageValues:
    """The acting form: the trained network alone, on one thread."""

    def __init__(
        self, spaces: Spaces, hidden: Sequence[int], activation: Activation, dueling: bool
    ) -> None:
        generator = torch.Generator().manual_seed(0)  # what it draws is overwritten by `load`
        self._net = image_network(spaces, hidden, activation, dueling, generator)

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        torch.set_num_threads(1)  # inline, the learner of this process sets its own
        load_network(self._net, "q.", arrays)

    @torch.inference_mode()
    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        head: NDArray[np.float32] = self._net(torch.from_numpy(rows)).numpy()
        return head


def load_network(net: nn.Module, prefix: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Take over the weights whose names begin so."""
    net.load_state_dict(
        {
            name.removeprefix(prefix): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
    )

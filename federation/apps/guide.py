"""What FedGen's clients do with the generator that the server has sent (Zhu et al. 2021, section
4.2; the second term is the released code's).

Beside the loss on its own samples a client has that of its last layer on latents made for labels
drawn as the server says, and it is drawn towards what its last layer says of latents made for its
own samples' labels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from flwr.app import RecordDict
from torch import Tensor

from covey.federation.apps.batched import Weights
from covey.federation.apps.minibatches import Hints, Made, Plan
from covey.federation.fedgen import GENERATOR
from covey.federation.latent_generator import Noise, draw, folded_latents
from covey.federation.numpy_array import numbers_of


class Draws(NamedTuple):
    """A client's: noise [S, B + G, noise] and labels [S, G], for S guided steps."""

    noise: Tensor
    labels: Tensor


class Guide(NamedTuple):
    """The generator, and how to use it; see `fedgen.Guidance`."""

    folded: Weights
    probabilities: Tensor
    latent_weight: float
    distillation_weight: float
    steps: int
    batch: int
    noise: Noise
    rectified: bool

    def draws(self, plan: Plan, batch_size: int, generator: torch.Generator | None) -> Draws:
        """One client's, from its generator (None: torch's own)."""
        steps = min(self.steps, len(plan.sizes))
        noise = self.folded["hidden.weight"].shape[1] - len(self.probabilities)
        count = steps * self.batch
        labels = torch.multinomial(self.probabilities, count, True, generator=generator)
        shape = (steps, batch_size + self.batch, noise)
        return Draws(draw(self.noise, shape, generator), labels.view(steps, self.batch))

    def hints(self, draws: Sequence[Draws], step: int, labels: Tensor) -> Hints | None:
        """For one step of the first clients of those whose draws these are, and whose samples have
        the labels [C, B].
        """
        if step >= self.steps:
            return None
        clients, width = labels.shape
        mine = draws[:clients]
        made = torch.stack([one.labels[step] for one in mine])  # [C, G]
        noise = torch.stack([one.noise[step] for one in mine])
        noise = torch.cat((noise[:, :width], noise[:, -self.batch :]), 1).flatten(0, 1)
        latents = folded_latents(self.folded, noise, torch.cat((labels, made), 1).view(-1))
        if self.rectified:
            latents.relu_()
        columns = latents.view(clients, width + self.batch, -1).transpose(1, 2)
        share = self.latent_weight / self.batch
        target = torch.zeros(clients, len(self.probabilities), self.batch)
        target.scatter_(1, made.unsqueeze(1), -share)
        made_for = Made(columns[:, :, width:], target, share)
        return Hints(self.distillation_weight, columns[:, :, :width], True, made_for)


def guide_of(content: RecordDict) -> Guide | None:
    """What a message says; None if it brings no generator."""
    if GENERATOR not in content:
        return None
    config: Any = content.config_records["config"]
    folded = content.array_records[GENERATOR]
    return Guide(
        {name: torch.from_numpy(numbers_of(array).copy()) for name, array in folded.items()},
        torch.tensor(config["label-probabilities"]),
        config["latent-weight"],
        config["distillation-weight"],
        config["guided-steps"],
        config["generated-batch"],
        config["noise"],
        config["rectified"],
    )

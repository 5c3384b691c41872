"""Local training of many clients at once, as products of batches of matrices.

What `task.train` does for one client, for all of a cohort: weights are [clients, out, in], and a
step is a handful of batched products that change them in place. Clients come sorted by how much
they have to do, so that those at work are always the first ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

Weights = dict[str, Tensor]
"""By parameter name: [C, ...], a model for each client."""


@dataclass(frozen=True)
class Batch:
    """Samples of the clients at work: images [C, B, pixels], labels as one-hot [C, B, classes].

    `sizes` [C] are those of the clients' own minibatches, and `share` [C, B, 1] is 1 / size, 0
    behind that, where a client has no sample.
    """

    images: Tensor
    hot: Tensor
    share: Tensor
    sizes: Sequence[int]

    def of(self, some: slice) -> "Batch":
        """Of some of the clients, up to the largest minibatch among these."""
        sizes = self.sizes[some]
        width = slice(max(sizes))
        return Batch(
            self.images[some, width], self.hot[some, width], self.share[some, width], sizes
        )


Step = Callable[[Weights, Batch, float], Tensor]
"""One step of gradient descent, in place; returns each client's mean loss [C]."""


def logistic_step(weights: Weights, batch: Batch, rate: float) -> Tensor:
    """Of multinomial logistic regression."""
    weight, bias = weights["output.weight"], weights["output.bias"]
    logits = torch.baddbmm(bias.unsqueeze(1), batch.images, weight.transpose(1, 2))
    losses, errors = cross_entropy(logits, batch)
    weight.baddbmm_(errors.transpose(1, 2), batch.images, alpha=-rate)
    bias.sub_(errors.sum(1), alpha=rate)
    return losses


def mlp_step(weights: Weights, batch: Batch, rate: float) -> Tensor:
    """Of a network with one hidden layer of rectified units."""
    found = through_two_layers(weights, batch.images, batch)
    descend_two_layers(weights, batch.images, found, rate)
    return found.losses


class TwoLayers(NamedTuple):
    """Each client's mean loss [C], its hidden units [C, B, units], and the gradients with respect
    to the logits [C, B, classes] and to what the hidden units rectify [C, B, units].
    """

    losses: Tensor
    units: Tensor
    errors: Tensor
    behind: Tensor


def through_two_layers(weights: Weights, inputs: Tensor, batch: Batch) -> TwoLayers:
    """Forth and back through a hidden layer of rectified units and the one for the classes."""
    hidden, hidden_bias = weights["hidden.weight"], weights["hidden.bias"]
    output, output_bias = weights["output.weight"], weights["output.bias"]
    units = torch.baddbmm(hidden_bias.unsqueeze(1), inputs, hidden.transpose(1, 2)).relu_()
    logits = torch.baddbmm(output_bias.unsqueeze(1), units, output.transpose(1, 2))
    losses, errors = cross_entropy(logits, batch)
    behind = torch.bmm(errors, output)
    behind.masked_fill_(units == 0, 0.0)
    return TwoLayers(losses, units, errors, behind)


def descend_two_layers(weights: Weights, inputs: Tensor, found: TwoLayers, rate: float) -> None:
    """The step that belongs to it, in place."""
    weights["output.weight"].baddbmm_(found.errors.transpose(1, 2), found.units, alpha=-rate)
    weights["output.bias"].sub_(found.errors.sum(1), alpha=rate)
    weights["hidden.weight"].baddbmm_(found.behind.transpose(1, 2), inputs, alpha=-rate)
    weights["hidden.bias"].sub_(found.behind.sum(1), alpha=rate)


def cross_entropy(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Each client's mean loss [C], and its gradient with respect to the logits [C, B, classes]."""
    logs = torch.log_softmax(logits, 2)
    losses = -((logs * batch.hot).sum(2, keepdim=True) * batch.share).sum((1, 2))
    errors = logs.exp_().sub_(batch.hot).mul_(batch.share)
    return losses, errors


@dataclass(frozen=True)
class Beside:
    """What a strategy adds to every gradient: `mu` times the way from where the training began
    (FedProx), and the same corrections at every step [C, ...] (SCAFFOLD), none if empty.
    """

    mu: float = 0.0
    corrections: Weights = field(default_factory=dict)


def train_together(
    step: Step,
    weights: Weights,
    plans: Sequence[Sequence[Tensor]],
    images: Tensor,
    hot: Tensor,
    rate: float,
    beside: Beside,
) -> Tensor:
    """Train in place. `plans`: each client's minibatches, as the indices of their samples; clients
    have fewer and fewer of them. `images` [N, pixels] and `hot` [N, classes] are everybody's, and
    so are the weights that clients begin with. Returns each client's mean loss [C].
    """
    laid_out = LaidOut(plans, images, hot)
    totals = torch.zeros(len(plans))
    mu = beside.mu
    start = {name: tensor[:1].clone() for name, tensor in weights.items()} if mu else {}
    for number, active in enumerate(laid_out.active):
        batch = laid_out.batch(number)
        mine = {name: tensor[:active] for name, tensor in weights.items()}
        pulls = {name: (mine[name] - begun).mul_(rate * mu) for name, begun in start.items()}
        totals[:active] += step(mine, batch, rate)
        for name, pull in pulls.items():
            mine[name].sub_(pull)
        for name, correction in beside.corrections.items():
            mine[name].sub_(correction[:active], alpha=rate)
    return totals / torch.tensor([len(plan) for plan in plans])


def minibatches(passes: Sequence[Tensor], batch_size: int, steps: int) -> list[Tensor]:
    """The samples of each step; the last ones of a pass may be fewer."""
    plan = [part for order in passes for part in torch.split(order, batch_size)]
    return plan[:steps] if steps else plan


class LaidOut:
    """The minibatches of clients that have fewer and fewer of them, side by side: `plans` of the
    indices of their samples. `active`: how many clients are at work in each step.
    """

    def __init__(self, plans: Sequence[Sequence[Tensor]], images: Tensor, hot: Tensor) -> None:
        counts = [len(plan) for plan in plans]
        assert counts == sorted(counts, reverse=True)
        self.active = [sum(count > number for count in counts) for number in range(counts[0])]
        self._images, self._hot = images, hot
        rows = [[len(part) for part in plan] + [0] * (counts[0] - len(plan)) for plan in plans]
        self._sizes = [list(sizes) for sizes in zip(*rows, strict=True)]
        # [steps, C, B]: shorter minibatches are filled up with what counts nothing.
        sizes = torch.tensor(self._sizes).unsqueeze(2)
        holds = torch.arange(int(sizes.max())) < sizes
        self._indices = torch.zeros(holds.shape, dtype=torch.int64)
        by_client = self._indices.transpose(0, 1)
        by_client[holds.transpose(0, 1)] = torch.cat([part for plan in plans for part in plan])
        self._share = (holds / sizes.clamp(min=1)).unsqueeze(3)
        self._taken = images.new_empty(self._indices[0].numel(), images.shape[1])

    def batch(self, number: int) -> Batch:
        """That of a step, good until the next one is made."""
        active = self.active[number]
        sizes = self._sizes[number][:active]
        width = max(sizes)
        indices = self._indices[number, :active, :width].reshape(-1)
        taken = torch.index_select(self._images, 0, indices, out=self._taken[: len(indices)])
        hot = torch.index_select(self._hot, 0, indices)
        shape = (active, width, -1)
        share = self._share[number, :active, :width]
        return Batch(taken.view(shape), hot.view(shape), share, sizes)

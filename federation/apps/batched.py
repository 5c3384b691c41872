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
    """Samples of the clients at work: images [C, B, pixels].

    `sizes` [C] are those of the clients' own minibatches, and `share` [C, B, 1] is 1 / size, 0
    behind that, where a client has no sample. `target` [C, B, classes] is the share at the
    sample's class, else 0.
    """

    images: Tensor
    target: Tensor
    share: Tensor
    sizes: Sequence[int]

    def of(self, some: slice) -> "Batch":
        """Of some of the clients, up to the largest minibatch among these."""
        sizes = self.sizes[some]
        width = slice(max(sizes))
        return Batch(
            self.images[some, width], self.target[some, width], self.share[some, width], sizes
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
    torch.ops.aten.threshold_backward.grad_input(behind, units, 0, grad_input=behind)
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
    # Each client's sum of products, as a product of a row and a column.
    count = len(logs)
    rows, columns = logs.view(count, 1, -1), batch.target.reshape(count, -1, 1)
    losses = torch.bmm(rows, columns).view(count).neg_()
    errors = logs.exp_().mul_(batch.share).sub_(batch.target)
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
    plans: Sequence["Plan"],
    images: Tensor,
    labels: Tensor,
    rate: float,
    beside: Beside,
) -> Tensor:
    """Train in place. Clients have fewer and fewer minibatches. `images` [N, pixels] and `labels`
    [N] are everybody's, and so are the weights that clients begin with. Returns each client's mean
    loss [C].
    """
    laid_out = LaidOut(plans, images, labels, len(weights["output.bias"][0]))
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
    return totals / torch.tensor([len(plan.sizes) for plan in plans])


class Plan(NamedTuple):
    """A client's minibatches: the indices of all their samples in order, and their sizes."""

    order: Tensor
    sizes: list[int]


def plan_of(passes: Sequence[Tensor], batch_size: int, steps: int) -> Plan:
    """Of passes over a client's samples; the last minibatch of a pass may be smaller. All steps if
    `steps` is 0.
    """
    sizes = [
        min(batch_size, len(order) - first)
        for order in passes
        for first in range(0, len(order), batch_size)
    ]
    order = passes[0] if len(passes) == 1 else torch.cat(list(passes))
    if steps and steps < len(sizes):
        sizes = sizes[:steps]
        order = order[: sum(sizes)]
    return Plan(order, sizes)


class LaidOut:
    """The minibatches of clients that have fewer and fewer of them, side by side. `active`: how
    many clients are at work in each step.
    """

    def __init__(self, plans: Sequence[Plan], images: Tensor, labels: Tensor, classes: int) -> None:
        counts = [len(plan.sizes) for plan in plans]
        assert counts == sorted(counts, reverse=True)
        self.active = [sum(count > number for count in counts) for number in range(counts[0])]
        self._images = images
        rows = [plan.sizes + [0] * (counts[0] - len(plan.sizes)) for plan in plans]
        self._sizes = [list(sizes) for sizes in zip(*rows, strict=True)]
        # [steps, C, B]: shorter minibatches are filled up with what counts nothing.
        sizes = torch.tensor(self._sizes).unsqueeze(2)
        holds = torch.arange(int(sizes.max())) < sizes
        self._indices = torch.zeros(holds.shape, dtype=torch.int64)
        by_client = self._indices.transpose(0, 1)
        by_client[holds.transpose(0, 1)] = torch.cat([plan.order for plan in plans])
        self._share = (holds / sizes.clamp(min=1)).unsqueeze(3)
        self._target = torch.zeros(*holds.shape, classes)
        self._target.scatter_(3, labels[self._indices].unsqueeze(3), self._share)
        self._taken = images.new_empty(self._indices[0].numel(), images.shape[1])

    def batch(self, number: int) -> Batch:
        """That of a step, good until the next one is made."""
        active = self.active[number]
        sizes = self._sizes[number][:active]
        width = max(sizes)
        indices = self._indices[number, :active, :width].reshape(-1)
        taken = torch.index_select(self._images, 0, indices, out=self._taken[: len(indices)])
        share, target = (of[number, :active, :width] for of in (self._share, self._target))
        return Batch(taken.view(active, width, -1), target, share, sizes)

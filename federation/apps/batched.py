"""Local training of many clients at once, as products of batches of matrices.

Weights are [clients, out, in], and a step is a handful of batched products that change them in
place; gradients are derived by hand. Clients come sorted by how much they have to do, so that those
at work are always the first ones. What goes through a network stands in columns, [C, units, B]:
over those torch takes a third of the time for its softmax.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

Weights = dict[str, Tensor]
"""By parameter name: [C, ...], a model for each client."""


class Batch(NamedTuple):
    """Samples of the clients at work: images [C, B, pixels].

    `sizes` [C] are those of the clients' own minibatches, and `share` [C, 1, B] is 1 / size, 0
    behind that, where a client has no sample. `target` [C, classes, B] is minus the share at the
    sample's class, else 0. A step adds to `losses` [C, classes, B], whose sum is a client's loss.
    """

    images: Tensor
    target: Tensor
    share: Tensor
    losses: Tensor
    sizes: Sequence[int]

    def of(self, some: slice) -> "Batch":
        """Of some of the clients, up to the largest minibatch among these."""
        sizes = self.sizes[some]
        width = slice(max(sizes))
        target, share, losses = (
            columns[some, :, width] for columns in (self.target, self.share, self.losses)
        )
        return Batch(self.images[some, width], target, share, losses, sizes)


FETCHED_BYTES = 2**21
"""So much of the images is fetched at once, to be found in the processor's cache by each step."""

Step = Callable[[Weights, Batch, float], None]
"""One step of gradient descent, in place."""


def logistic_step(weights: Weights, batch: Batch, rate: float) -> None:
    """Of multinomial logistic regression."""
    weight, bias = weights["output.weight"], weights["output.bias"]
    errors = cross_entropy(linear(weight, bias, batch.images.transpose(1, 2)), batch)
    weight.baddbmm_(errors, batch.images, alpha=-rate)
    bias.sub_(errors.sum(2), alpha=rate)


def mlp_step(weights: Weights, batch: Batch, rate: float) -> None:
    """Of a network with one hidden layer of rectified units."""
    found = through_two_layers(weights, batch.images, batch)
    descend_two_layers(weights, batch.images, found, rate)


class TwoLayers(NamedTuple):
    """Each client's hidden units [C, units, B], and the gradients with respect to the logits [C,
    classes, B] and to what the hidden units rectify [C, units, B].
    """

    units: Tensor
    errors: Tensor
    behind: Tensor


def through_two_layers(weights: Weights, inputs: Tensor, batch: Batch) -> TwoLayers:
    """Forth and back through a hidden layer of rectified units and the one for the classes; inputs
    [C, B, in].
    """
    output = weights["output.weight"]
    hidden = linear(weights["hidden.weight"], weights["hidden.bias"], inputs.transpose(1, 2))
    units = hidden.relu_()
    errors = cross_entropy(linear(output, weights["output.bias"], units), batch)
    behind = torch.bmm(output.transpose(1, 2), errors)
    torch.ops.aten.threshold_backward.grad_input(behind, units, 0, grad_input=behind)
    return TwoLayers(units, errors, behind)


def descend_two_layers(weights: Weights, inputs: Tensor, found: TwoLayers, rate: float) -> None:
    """The step that belongs to it, in place."""
    weights["output.weight"].baddbmm_(found.errors, found.units.transpose(1, 2), alpha=-rate)
    weights["output.bias"].sub_(found.errors.sum(2), alpha=rate)
    weights["hidden.weight"].baddbmm_(found.behind, inputs, alpha=-rate)
    weights["hidden.bias"].sub_(found.behind.sum(2), alpha=rate)


def linear(weight: Tensor, bias: Tensor, columns: Tensor) -> Tensor:
    """weight [C, out, in], bias [C, out], columns [C, in, B] -> [C, out, B]."""
    return torch.baddbmm(bias.unsqueeze(2), weight, columns)


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """The gradient of each client's mean loss with respect to the logits [C, classes, B]."""
    logs = torch.log_softmax(logits, 1)
    batch.losses.addcmul_(logs, batch.target)
    return torch.addcmul(batch.target, logs.exp_(), batch.share)


@dataclass(frozen=True)
class Beside:
    """What a strategy adds to every gradient: `mu` times the way from where the training began
    (FedProx), and the same corrections at every step [C, ...] (SCAFFOLD), none if empty.
    """

    mu: float = 0.0
    corrections: Weights = field(default_factory=dict)

    def of(self, clients: Sequence[int]) -> "Beside":
        """Of these clients, in their order."""
        rows = list(clients)
        return Beside(self.mu, {name: each[rows] for name, each in self.corrections.items()})


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
    mu = beside.mu
    start = {name: tensor[:1].clone() for name, tensor in weights.items()} if mu else {}
    for batch in laid_out.batches():
        active, mine = len(batch.sizes), weights
        if active < len(plans):
            mine = {name: tensor[:active] for name, tensor in weights.items()}
        pulls = {name: (mine[name] - begun).mul_(rate * mu) for name, begun in start.items()}
        step(mine, batch, rate)
        for name, pull in pulls.items():
            mine[name].sub_(pull)
        for name, correction in beside.corrections.items():
            mine[name].sub_(correction[:active], alpha=rate)
    return laid_out.losses.sum((1, 2)) / torch.tensor([len(plan.sizes) for plan in plans])


class Plan(NamedTuple):
    """A client's minibatches: the indices of all their samples in order, and their sizes."""

    order: Tensor
    sizes: tuple[int, ...]


def plan_of(passes: Sequence[Tensor], batch_size: int, steps: int) -> Plan:
    """Of passes over a client's samples; the last minibatch of a pass may be smaller. All steps if
    `steps` is 0.
    """
    sizes = sizes_of(tuple(map(len, passes)), batch_size)
    order = passes[0] if len(passes) == 1 else torch.cat(list(passes))
    if steps and steps < len(sizes):
        sizes = sizes[:steps]
        order = order[: sum(sizes)]
    return Plan(order, sizes)


@lru_cache(maxsize=4096)
def sizes_of(passes: tuple[int, ...], batch_size: int) -> tuple[int, ...]:
    """Of the minibatches of passes that are so long."""
    return tuple(
        min(batch_size, length - first)
        for length in passes
        for first in range(0, length, batch_size)
    )


class LaidOut:
    """The minibatches of clients that have fewer and fewer of them, side by side.

    `losses` [C, classes, B]: what all steps have added, see `Batch`.
    """

    def __init__(self, plans: Sequence[Plan], images: Tensor, labels: Tensor, classes: int) -> None:
        counts = [len(plan.sizes) for plan in plans]
        assert counts == sorted(counts, reverse=True)
        rows = [plan.sizes + (0,) * (counts[0] - len(plan.sizes)) for plan in plans]
        self._sizes = [[size for size in sizes if size] for sizes in zip(*rows, strict=True)]
        self._images = images
        shape = (len(plans), counts[0], max(map(max, self._sizes)))
        if len({size for row in rows for size in row}) == 1:
            indices = torch.stack([plan.order for plan in plans]).view(shape)
            share = torch.full((), 1 / shape[2]).expand(shape)
        else:
            # Shorter minibatches are filled up with what counts nothing.
            sizes = torch.tensor(rows).unsqueeze(2)
            holds = torch.arange(shape[2]) < sizes
            indices = torch.zeros(shape, dtype=torch.int64)
            indices[holds] = torch.cat([plan.order for plan in plans])
            share = holds / sizes.clamp(min=1)
        # By step: [S, C, B], and columns [S, C, 1 or classes, B].
        self._indices = indices.transpose(0, 1).contiguous()
        self._share = share.transpose(0, 1).unsqueeze(2)
        self._target = torch.zeros(shape[1], shape[0], classes, shape[2])
        self._target.scatter_(2, labels[self._indices].unsqueeze(2), -self._share)
        self.losses = torch.zeros(shape[0], classes, shape[2])

    def batches(self) -> Iterator[Batch]:
        """That of each step, good until the next one is made."""
        for first, last in self._stretches():
            active = len(self._sizes[first])
            indices = self._indices[first:last, :active]
            taken = torch.index_select(self._images, 0, indices.reshape(-1))
            images = taken.view(*indices.shape, -1).unbind()
            columns = self._target[first:last].unbind(), self._share[first:last].unbind()
            for own, target, share, sizes in zip(
                images, *columns, self._sizes[first:last], strict=True
            ):
                batch = Batch(own, target, share, self.losses, sizes)
                whole = (active, max(sizes)) == self._indices.shape[1:]
                yield batch if whole else batch.of(slice(active))

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Steps, from one to before another, that the same clients take, and whose images are
        fetched at once.
        """
        active = [len(sizes) for sizes in self._sizes]
        a_step = self._indices[0].numel() * self._images.shape[1] * self._images.element_size()
        most, first = max(1, FETCHED_BYTES // a_step), 0
        for number in range(1, len(active) + 1):
            over = number == len(active) or active[number] != active[first]
            if over or number - first == most:
                yield first, number
                first = number

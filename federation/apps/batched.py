"""Local training of many clients at once, as products of batches of matrices.

Weights are [clients, out, in], and a step is a handful of batched products that change them in
place; gradients are derived by hand. Clients come sorted by how much they have to do, so that those
at work are always the first ones. What goes through a network stands in columns, [C, units, B]:
over those torch takes a third of the time for its softmax.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from covey.federation.apps.minibatches import Batch, Hints, LaidOut, Plan

Weights = dict[str, Tensor]
"""By parameter name: [C, ...], a model for each client."""


@dataclass(frozen=True)
class Descent:
    """The way down: w <- w - rate g, at once. Weights that have a `velocity` [C, ...] get theirs at
    the end of the step, of which a gradient comes but once: v <- momentum v - rate g, w <- w + v.
    """

    rate: float
    momentum: float = 0.0
    velocity: Weights = field(default_factory=dict)

    def along(self, weights: Weights, name: str, errors: Tensor, inputs: Tensor) -> None:
        """The gradient is a product of batches of matrices, [C, out, all the rest]."""
        if name in self.velocity:
            kept = self.velocity[name].flatten(2)
            kept.baddbmm_(errors, inputs, beta=self.momentum, alpha=-self.rate)
        else:
            weights[name].flatten(2).baddbmm_(errors, inputs, alpha=-self.rate)

    def against(self, weights: Weights, name: str, gradient: Tensor) -> None:
        """The gradient is there, [C, ...]."""
        if name in self.velocity:
            self.velocity[name].mul_(self.momentum).sub_(gradient, alpha=self.rate)
        else:
            weights[name].sub_(gradient, alpha=self.rate)

    def end(self, weights: Weights) -> None:
        """The step's gradients are all there."""
        for name, velocity in self.velocity.items():
            weights[name].add_(velocity)

    def of(self, some: slice) -> "Descent":
        """Of some of the clients."""
        if not self.velocity:
            return self
        return replace(self, velocity={name: each[some] for name, each in self.velocity.items()})


Step = Callable[[Weights, Batch, Descent], None]
"""The gradients of one step, in place."""


def some_at_once(step: Step, most: int) -> Step:
    """The same step, which sees so many clients at once: what it keeps of them stays small."""

    def in_turn(weights: Weights, batch: Batch, way: Descent) -> None:
        for first in range(0, len(batch.sizes), most):
            some = slice(first, first + most)
            theirs = {name: tensor[some] for name, tensor in weights.items()}
            step(theirs, batch.of(some), way.of(some))

    return in_turn


def logistic_step(weights: Weights, batch: Batch, way: Descent) -> None:
    """Of multinomial logistic regression."""
    errors = last_errors(weights, batch.images.transpose(1, 2), batch)
    descend(weights, "output", errors, batch.images, way)


def mlp_step(weights: Weights, batch: Batch, way: Descent) -> None:
    """Of a network with one hidden layer of rectified units."""
    found = through_two_layers(weights, batch.images, batch)
    descend_two_layers(weights, batch.images, found, way)


class TwoLayers(NamedTuple):
    """Each client's hidden units [C, units, B], and the gradients with respect to the logits [C,
    classes, B] and to what the hidden units rectify [C, units, B]; of latents that were made
    themselves and the gradient with respect to their logits, if there are any.
    """

    units: Tensor
    errors: Tensor
    behind: Tensor
    made: tuple[Tensor, Tensor] | None


def through_two_layers(
    weights: Weights, inputs: Tensor, batch: Batch, rectified: bool = True
) -> TwoLayers:
    """Forth and back through a hidden layer of units, `rectified` or not, and the one for the
    classes; inputs [C, B, in].
    """
    hidden = linear(weights["hidden.weight"], weights["hidden.bias"], inputs.transpose(1, 2))
    units = hidden.relu_() if rectified else hidden
    errors = last_errors(weights, units, batch)
    made = None
    if batch.hints is not None and (hint := batch.hints.made) is not None:
        found = torch.softmax(last_layer(weights, hint.latents), 1)
        made = hint.latents, torch.add(hint.target, found, alpha=hint.share)
    behind = torch.bmm(weights["output.weight"].transpose(1, 2), errors)
    if rectified:
        torch.ops.aten.threshold_backward.grad_input(behind, units, 0, grad_input=behind)
    return TwoLayers(units, errors, behind, made)


def last_errors(weights: Weights, units: Tensor, batch: Batch) -> Tensor:
    """The gradient with respect to the logits [C, classes, B], of the layer for the classes; units
    [C, in, B]. Adds to the batch's losses and tally.
    """
    hints, aim, share = batch.hints, batch.target, batch.share
    if hints is not None:
        pull, example = share * hints.distillation, hints.example
        if hints.latents:
            example = torch.softmax(last_layer(weights, example), 1)
        aim, share = torch.addcmul(aim, example, pull, value=-1), share + pull
    logits = last_layer(weights, units)
    if batch.tally is not None:
        batch.tally.baddbmm_((batch.target != 0).float(), logits.transpose(1, 2))
    return cross_entropy(logits, batch, aim, share)


def last_layer(weights: Weights, columns: Tensor) -> Tensor:
    """Logits."""
    return linear(weights["output.weight"], weights["output.bias"], columns)


def descend_two_layers(weights: Weights, inputs: Tensor, found: TwoLayers, way: Descent) -> None:
    """The step that belongs to it, in place."""
    descend(weights, "output", found.errors, found.units.transpose(1, 2), way)
    descend(weights, "hidden", found.behind, inputs, way)
    if found.made is not None:
        assert not way.velocity  # the last layer's second gradient
        latents, errors = found.made
        descend(weights, "output", errors, latents.transpose(1, 2), way)


def descend(weights: Weights, layer: str, errors: Tensor, inputs: Tensor, way: Descent) -> None:
    """A layer's step: errors [C, out, B], inputs [C, B, in]."""
    way.along(weights, f"{layer}.weight", errors, inputs)
    way.against(weights, f"{layer}.bias", errors.sum(2))


def linear(weight: Tensor, bias: Tensor, columns: Tensor) -> Tensor:
    """weight [C, out, in], bias [C, out], columns [C, in, B] -> [C, out, B]."""
    return torch.baddbmm(bias.unsqueeze(2), weight, columns)


def cross_entropy(logits: Tensor, batch: Batch, aim: Tensor, share: Tensor) -> Tensor:
    """Adds to the batch's losses. The gradient with respect to the logits [C, classes, B]: their
    softmax times the share, and the aim.
    """
    logs = torch.log_softmax(logits, 1)
    batch.losses.addcmul_(logs, batch.target)
    return torch.addcmul(aim, logs.exp_(), share)


@dataclass(frozen=True)
class Beside:
    """What a strategy adds to every gradient: `mu` times the way from the model that was received
    (FedProx), the same corrections at every step [C, ...] (SCAFFOLD), none if empty, and what
    hints, by the step and the labels [C, B] of its samples, make of it (FedGen). `tallies`: the
    strategy asks for sums of logits (FedDistill). `pulled`: the arrays that mu is about.
    """

    mu: float = 0.0
    pulled: tuple[str, ...] = ()
    corrections: Weights = field(default_factory=dict)
    hints: Callable[[int, Tensor], Hints | None] | None = None
    tallies: bool = False

    def of(self, clients: Sequence[int]) -> "Beside":
        """Of these clients, in their order."""
        rows = list(clients)
        mine = {name: each[rows] for name, each in self.corrections.items()}
        return replace(self, corrections=mine)


def train_together(
    step: Step,
    weights: Weights,
    plans: Sequence[Plan],
    images: Tensor,
    labels: Tensor,
    way: Descent,
    beside: Beside,
) -> tuple[Tensor, Tensor | None]:
    """Train in place, velocities too. Clients have fewer and fewer minibatches. `images` [N,
    pixels] and `labels` [N] are everybody's, and so are the pulled weights that clients begin with.
    Returns each client's mean loss [C], and its tally [C, classes, classes] if it is asked for.
    """
    classes = len(weights["output.bias"][0])
    laid_out = LaidOut(plans, images, labels, classes)
    tallies = torch.zeros(len(plans), classes, classes) if beside.tallies else None
    start = {name: weights[name][:1].clone() for name in beside.pulled}
    for number, batch in enumerate(laid_out.batches()):
        active, mine = len(batch.sizes), weights
        if beside.hints is not None:
            batch = batch._replace(hints=beside.hints(number, batch.labels))
        if tallies is not None:
            batch = batch._replace(tally=tallies[:active])
        if active < len(plans):
            mine = {name: tensor[:active] for name, tensor in weights.items()}
        theirs = way.of(slice(active))
        pulls = {
            name: (mine[name] - begun).mul_(way.rate * beside.mu) for name, begun in start.items()
        }
        step(mine, batch, theirs)
        theirs.end(mine)
        for name, pull in pulls.items():
            mine[name].sub_(pull)
        for name, correction in beside.corrections.items():
            mine[name].sub_(correction[:active], alpha=way.rate)
    losses = laid_out.losses.sum((1, 2)) / torch.tensor([len(plan.sizes) for plan in plans])
    return losses, tallies

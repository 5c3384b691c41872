"""The minibatches of many clients, side by side, for the steps of `batched.py`."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

FETCHED_BYTES = 2**21
"""So much of the images is fetched at once, to be found in the processor's cache by each step."""


class Made(NamedTuple):
    """Latents [C, units, G] that a generator has made for labels, with `target` [C, classes, G]
    minus `share` at the label.
    """

    latents: Tensor
    target: Tensor
    share: float


class Hints(NamedTuple):
    """What the server tells in a step. The samples' predictions are drawn, with the weight
    `distillation` (of each, if it is [C, 1, B]), towards `example`: probabilities [C, classes, B],
    or where it is `latents` [C, units, B] that stand for the samples' labels, towards what the last
    layer says of them.
    """

    distillation: float | Tensor
    example: Tensor
    latents: bool
    made: Made | None = None

    def of(self, some: slice, width: slice) -> "Hints":
        """Of some of the clients, up to a width of the minibatches."""
        made = self.made and Made(self.made.latents[some], self.made.target[some], self.made.share)
        weight = self.distillation
        if isinstance(weight, Tensor):
            weight = weight[some, :, width]
        return Hints(weight, self.example[some, :, width], self.latents, made)


class Batch(NamedTuple):
    """Samples of the clients at work: images [C, B, pixels].

    `sizes` [C] are those of the clients' own minibatches, and `share` [C, 1, B] is 1 / size, 0
    behind that, where a client has no sample. `target` [C, classes, B] is minus the share at the
    sample's class, which is in `labels` [C, B], else 0. A step adds to `losses` [C, classes, B],
    whose sum is a client's loss, and to `tally` [C, classes, classes], if there is one: the sum of
    the logits of the samples of each label.
    """

    images: Tensor
    target: Tensor
    share: Tensor
    losses: Tensor
    sizes: Sequence[int]
    labels: Tensor
    hints: Hints | None = None
    tally: Tensor | None = None

    def of(self, some: slice) -> "Batch":
        """Of some of the clients, up to the largest minibatch among these."""
        sizes = self.sizes[some]
        width = slice(max(sizes))
        target, share, losses = (
            columns[some, :, width] for columns in (self.target, self.share, self.losses)
        )
        hints = self.hints and self.hints.of(some, width)
        labels = self.labels[some, width]
        tally = None if self.tally is None else self.tally[some]
        return Batch(self.images[some, width], target, share, losses, sizes, labels, hints, tally)


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
            share = images.new_full((), 1 / shape[2]).expand(shape)
        else:
            # Shorter minibatches are filled up with what counts nothing.
            sizes = torch.tensor(rows).unsqueeze(2)
            holds = torch.arange(shape[2]) < sizes
            indices = torch.zeros(shape, dtype=torch.int64)
            indices[holds] = torch.cat([plan.order for plan in plans])
            share = holds.to(images.dtype) / sizes.clamp(min=1)
        # By step: [S, C, B], and columns [S, C, 1 or classes, B].
        self._indices = indices.transpose(0, 1).contiguous()
        self._share = share.transpose(0, 1).unsqueeze(2)
        self._target = images.new_zeros(shape[1], shape[0], classes, shape[2])
        self._labels = labels[self._indices]
        self._target.scatter_(2, self._labels.unsqueeze(2), -self._share)
        self.losses = images.new_zeros(shape[0], classes, shape[2])

    def batches(self) -> Iterator[Batch]:
        """That of each step, good until the next one is made."""
        for first, last in self._stretches():
            active = len(self._sizes[first])
            indices = self._indices[first:last, :active]
            taken = torch.index_select(self._images, 0, indices.reshape(-1))
            images = taken.view(*indices.shape, -1).unbind()
            parts = self._target, self._share, self._labels
            by_step = (part[first:last].unbind() for part in parts)
            for own, target, share, labels, sizes in zip(
                images, *by_step, self._sizes[first:last], strict=True
            ):
                batch = Batch(own, target, share, self.losses, sizes, labels)
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

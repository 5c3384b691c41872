"""What a generator of latents has learnt, on samples: how many the clients' last layers take for
their label, how far those of a label lie apart, and what `latent_picture.py` draws.
"""

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from covey.federation.latent_generator import Generator, Noise, draw
from covey.federation.lesson import Heads

MOST_LABELS = 20
MOST_POINTS = 1000
MOST_OF_A_LABEL = 100
"""Of what the table holds, however many labels there are."""
SEED = 1
"""Of the noise for the table: always the same, so that points move only as the generator does."""


@dataclass(frozen=True)
class LatentSamples:
    """labels [L], and latents [L, N, latent] made for them."""

    labels: Tensor
    latents: Tensor

    @classmethod
    def of(
        cls,
        generator: Generator,
        labels: Tensor,
        noise: Noise,
        each: int = 32,
        source: torch.Generator | None = None,
    ) -> "LatentSamples":
        """`each` for every label, with noise from the source (None: torch's own generator)."""
        asked = labels.repeat_interleave(each)
        drawn = draw(noise, (len(asked), generator.shape.noise), source)
        return cls(labels, generator.latents(drawn, asked).view(len(labels), each, -1))

    def taken(self, heads: Heads) -> Tensor:
        """The labels [L, N] that the mean of the heads' logits takes them for."""
        return heads.logits(self.latents.flatten(0, 1)).mean(0).argmax(1).view(len(self.labels), -1)

    def accuracy(self, heads: Heads) -> float:
        """How often that is the label that a latent was made for."""
        right = self.taken(heads) == self.labels.unsqueeze(1)
        return float(right.double().mean())

    def spread(self) -> float:
        """The mean distance of two latents of the same label over the mean length of a latent: 0
        where the noise changes nothing, sqrt(2) for directions that have nothing in common.
        """
        # Through a product, short distances would be rounding errors.
        exactly = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(self.latents, self.latents, compute_mode=exactly)
        each = self.latents.shape[1]
        length = self.latents.norm(dim=2).mean().clamp(min=1e-12)
        return float(apart.mean() * (each / (each - 1)) / length)

    def table(self, heads: Heads, number: int) -> dict[str, Any]:
        """After round `number`: by label the samples' places in the plane of their two principal
        components, and what they are taken for; `share`: of the variance, by component.
        """
        points, share = principal_plane(self.latents.flatten(0, 1))
        return {
            "round": number,
            "latent": self.latents.shape[2],
            "classes": heads.bias.shape[1],
            "labels": self.labels.tolist(),
            "points": [
                [[round(x, 4) for x in point] for point in of_label]
                for of_label in points.view(len(self.labels), -1, 2).tolist()
            ],
            "taken": self.taken(heads).tolist(),
            "share": [round(one, 4) for one in share.tolist()],
        }


def latents_table(
    generator: Generator, heads: Heads, labels: Tensor, noise: Noise, number: int
) -> bytes:
    """`LatentSamples.table` as JSON, for some of the labels. It has random numbers of its own."""
    if len(labels) > MOST_LABELS:
        labels = labels[torch.linspace(0, len(labels) - 1, MOST_LABELS).round().long()]
    each = min(MOST_OF_A_LABEL, MOST_POINTS // len(labels))
    source = torch.Generator().manual_seed(SEED)
    samples = LatentSamples.of(generator, labels, noise, each, source)
    return json.dumps(samples.table(heads, number), separators=(",", ":")).encode()


def principal_plane(rows: Tensor) -> tuple[Tensor, Tensor]:
    """rows [N, D], D >= 2 -> their places [N, 2] along the two directions in which they differ
    most, and each direction's share [2] of their variance.
    """
    centred = rows.double() - rows.double().mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    # A direction is one up to its sign: without a rule pictures would flip from round to round.
    largest = directions[:2].gather(1, directions[:2].abs().argmax(1, keepdim=True))
    variances = sizes.square()
    share = variances[:2] / variances.sum().clamp(min=1e-24)
    return centred @ (directions[:2] * largest.sign()).t(), share

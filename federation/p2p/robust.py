"""Mixing that bears some neighbours who send what they like."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from covey.federation.p2p.links import Links, Rows, product


class Combine(Protocol):
    """own [n, D], sent [m, D] -> what the peers make of what they hear, [n, D]."""

    def __call__(self, own: Rows, sent: Rows, links: Links) -> Rows: ...


def weighted(own: Rows, sent: Rows, links: Links) -> Rows:
    """The weighted mean; what bears nobody."""
    return product(links.weights, sent)


@dataclass(frozen=True)
class TrimmedMean:
    """Of each number the `trim` least and the `trim` greatest are left out, and the mean of the
    rest taken (Yin et al. 2018). Weights do not count. Where fewer than 2 trim + 1 are heard, as
    many are left out as leave one or two.
    """

    trim: int

    def __call__(self, own: Rows, sent: Rows, links: Links) -> Rows:
        def one(_: Rows, heard: Rows) -> Rows:
            trim = min(self.trim, (len(heard) - 1) // 2)
            ordered: Rows = np.sort(heard, axis=0)
            mean: Rows = ordered[trim : len(heard) - trim].mean(0)
            return mean

        return by_peer(own, sent, links, one)


@dataclass(frozen=True)
class SelfCentredClipping:
    """w_i + sum_j W_ij clip(w_j - w_i), differences shortened to the radius (He et al. 2022,
    arXiv 2202.01545). Without a radius it is
    the median of this exchange's distances to neighbours, which is ours: theirs needs to know how
    far the honest ones are.
    """

    radius: float | None = None

    def __call__(self, own: Rows, sent: Rows, links: Links) -> Rows:
        weights = links.weights.toarray().astype(own.dtype)
        out = own.copy()
        for row, mine in enumerate(own):
            others = links.heard(row)
            others = others[others != links.own[row]]
            ways = sent[others] - mine
            lengths = np.linalg.norm(ways.astype(np.float64), axis=1)
            radius = self.radius or (float(np.median(lengths)) if len(lengths) else 0.0)
            kept = np.divide(radius, lengths, out=np.ones_like(lengths), where=lengths > radius)
            out[row] += (weights[row, others] * kept).astype(own.dtype) @ ways
        return out


def by_peer(own: Rows, sent: Rows, links: Links, one: Callable[[Rows, Rows], Rows]) -> Rows:
    """Peer by peer: its own vector [D] and all that it hears, its own among them, [heard, D]."""
    return np.stack([one(mine, sent[links.heard(row)]) for row, mine in enumerate(own)])

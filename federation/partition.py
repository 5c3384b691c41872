"""Deal a data set out to clients. Each function returns one sorted array of indices a client.

Together the arrays hold every index of `labels` exactly once.
"""

import numpy as np
from numpy.typing import NDArray

from covey.platform.seeds import derive

Labels = NDArray[np.integer]
Indices = NDArray[np.int64]
DRAWS = 10
MAX_ALPHA = 1e15  # shares are equal to about 1 in 10 million


def iid(labels: Labels, clients: int, seed: int, min_size: int = 0) -> list[Indices]:
    """Every client gets a random share of the same size, give or take one sample.

    Raises ValueError when the samples are too few for `min_size` each.
    """
    _check(len(labels), clients, min_size)
    order = np.random.default_rng(derive(seed, "partition")).permutation(len(labels))
    return [np.sort(part).astype(np.int64) for part in np.array_split(order, clients)]


def dirichlet(
    labels: Labels, clients: int, alpha: float, seed: int, min_size: int = 0
) -> list[Indices]:
    """Every class is spread over the clients in proportions drawn from Dirichlet(alpha).

    A small `alpha` (0.1) gives a client few classes, a large one (100) approaches `iid`; above 1e15
    it counts as 1e15. A client may get nothing. With `min_size` the draw is repeated, up to 10
    times, until every client has that many; if none does, the last draw's largest clients give to
    its smallest. Raises ValueError when alpha is not a positive number or the samples are too few
    for `min_size` each.
    """
    if not (np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha is {alpha}; it must be a number above 0")
    _check(len(labels), clients, min_size)
    generator = np.random.default_rng(derive(seed, "partition"))
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    owner = np.zeros(len(labels), np.int64)  # [N]: the client of each sample
    for _ in range(DRAWS):
        for members in classes:
            owner[generator.permutation(members)] = np.repeat(
                np.arange(clients), _sizes(generator, len(members), clients, alpha)
            )
        if np.bincount(owner, minlength=clients).min() >= min_size:
            break
    else:
        _fill(owner, clients, min_size, generator)
    return _by_owner(owner, clients)


def _check(samples: int, clients: int, min_size: int) -> None:
    if clients < 1:
        raise ValueError(f"{clients} clients; at least one is needed")
    if clients * min_size > samples:
        raise ValueError(
            f"{clients} clients with at least {min_size} samples each need {clients * min_size} "
            f"samples; there are {samples}"
        )


def _sizes(
    generator: np.random.Generator, samples: int, clients: int, alpha: float
) -> NDArray[np.int64]:
    """How many of a class's samples each client gets: [clients], sums to `samples`."""
    # The draw divides by a sum of about clients * alpha, which must be finite.
    shares = generator.dirichlet(np.full(clients, min(alpha, MAX_ALPHA)))
    if not np.isfinite(shares).all():  # a vanishing alpha underflows: all goes to one client
        shares = np.eye(1, clients, int(generator.integers(clients)))[0]
    cuts = np.minimum((np.cumsum(shares)[:-1] * samples).round().astype(np.int64), samples)
    return np.diff(cuts, prepend=0, append=samples)


def _fill(owner: Indices, clients: int, min_size: int, generator: np.random.Generator) -> None:
    """Move random samples from the largest clients to those below `min_size`, in place."""
    sizes = np.bincount(owner, minlength=clients)
    order = generator.permutation(len(owner))
    order = order[np.argsort(owner[order], kind="stable")]  # client by client, shuffled within
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(owner)) - starts[owner[order]]  # n-th sample of its client
    receivers = np.repeat(np.arange(clients), np.maximum(min_size - sizes, 0))
    # The highest ranks belong to the largest clients. There are enough at or above min_size,
    # because all samples together are at least clients * min_size.
    owner[order[np.argsort(-rank, kind="stable")[: len(receivers)]]] = receivers


def _by_owner(owner: Indices, clients: int) -> list[Indices]:
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=clients))
    return np.split(order.astype(np.int64), ends[:-1])

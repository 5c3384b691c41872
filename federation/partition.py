"""Deal a data set out to clients. Each function returns one sorted array of indices a client.

Together the arrays hold every index of `labels` exactly once. Which function a job asks for, and
what of each client's samples is held out, is in `shares.py`.
"""

import heapq

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


def classes(
    labels: Labels, clients: int, classes_per_client: int, seed: int, min_size: int = 0
) -> list[Indices]:
    """Every client gets samples of `classes_per_client` classes, as equal in number as they allow.

    A class goes in equal parts to clients in proportion to its size; one with fewer samples than
    clients leaves some of those with fewer classes. McMahan et al. 2017, section 3, deal shards of
    the sorted labels, which end within a class; here every part is of one class. Raises ValueError
    when there are not as many classes, when clients times classes is too few for all of them, or
    when a client would get fewer than `min_size` samples.
    """
    _check(len(labels), clients, min_size)
    names, class_of = np.unique(labels, return_inverse=True)
    if not 1 <= classes_per_client <= len(names):
        raise ValueError(
            f"classes_per_client is {classes_per_client}; the data has {len(names)} classes"
        )
    if clients * classes_per_client < len(names):
        raise ValueError(
            f"classes_per_client is {classes_per_client}, too few for {clients} clients to have "
            f"all {len(names)} classes: raise it to {-(-len(names) // clients)}, or clients to "
            f"{-(-len(names) // classes_per_client)}"
        )
    generator = np.random.default_rng(derive(seed, "partition"))
    holders = _holders(np.bincount(class_of), clients, classes_per_client, generator)
    owner = np.zeros(len(labels), np.int64)
    for name, holding in enumerate(holders):
        members = generator.permutation(np.flatnonzero(class_of == name))
        for client, part in zip(holding, np.array_split(members, len(holding)), strict=True):
            owner[part] = client
    parts = _by_owner(owner, clients)
    _check_smallest(parts, min_size, "raise classes_per_client, or lower min_size or clients")
    return parts


def quantity(
    labels: Labels, clients: int, alpha: float, seed: int, min_size: int = 0
) -> list[Indices]:
    """Clients get random samples, in numbers whose proportions are drawn from Dirichlet(alpha).

    A small `alpha` gives a few clients nearly everything, a large one approaches `iid`. `min_size`
    and errors are as for `dirichlet`: this is the same with all samples in one class.
    """
    return dirichlet(np.zeros(len(labels), np.int64), clients, alpha, seed, min_size)


def natural(ids: NDArray[np.generic], clients: int, min_size: int = 0) -> list[Indices]:
    """Every client gets the samples that bear its id; clients are in the order of the ids.

    Raises ValueError when there are more or fewer ids than clients, or when one has fewer than
    `min_size` samples.
    """
    names, owner = np.unique(ids, return_inverse=True)
    if len(names) != clients:
        raise ValueError(
            f"the data comes from {len(names)} clients, not {clients}: write clients: {len(names)}"
        )
    parts = _by_owner(owner.astype(np.int64), clients)
    _check_smallest(parts, min_size, "lower min_size")
    return parts


def _check(samples: int, clients: int, min_size: int) -> None:
    if clients < 1:
        raise ValueError(f"{clients} clients; at least one is needed")
    if clients * min_size > samples:
        raise ValueError(
            f"{clients} clients with at least {min_size} samples each need {clients * min_size} "
            f"samples; there are {samples}"
        )


def _check_smallest(parts: list[Indices], min_size: int, advice: str) -> None:
    smallest = min(map(len, parts))
    if smallest < min_size:
        raise ValueError(
            f"min_size is {min_size}, but the smallest client gets {smallest} samples: {advice}"
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


def _holders(
    sizes: NDArray[np.int64], clients: int, classes_per_client: int, generator: np.random.Generator
) -> list[list[int]]:
    """Which clients hold each class: every client stands in `classes_per_client` of the lists.

    A client takes the classes that most holders are still wanted for. With equal shares for all
    clients that never gets stuck (Gale and Ryser's theorem on matrices of zeros and ones).
    """
    wanted = _holder_counts(sizes, clients, clients * classes_per_client)
    holders: list[list[int]] = [[] for _ in sizes]
    for client in generator.permutation(clients).tolist():
        shuffled = generator.permutation(len(sizes))
        order = shuffled[np.argsort(-wanted[shuffled], kind="stable")]
        for name in order[:classes_per_client].tolist():
            holders[name].append(client)
            wanted[name] -= 1
    return holders


def _holder_counts(sizes: NDArray[np.int64], clients: int, places: int) -> NDArray[np.int64]:
    """How many clients hold each class: at least 1, at most all, `places` together.

    The next place goes to the class that has the most samples a holder with it (D'Hondt's rule),
    so no client's part of a class is much smaller than another's.
    """
    counts = np.ones(len(sizes), np.int64)
    queue = [(-size / 2, name) for name, size in enumerate(sizes.tolist())]
    heapq.heapify(queue)
    for _ in range(places - len(sizes)):
        _, name = heapq.heappop(queue)
        counts[name] += 1
        if counts[name] < clients:
            heapq.heappush(queue, (-int(sizes[name]) / (int(counts[name]) + 1), name))
    return counts

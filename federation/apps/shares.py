"""Which samples each client of a built-in app has, to train on and held out to be measured on, and
which are the server's.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from covey.federation.apps.settings import Settings
from covey.federation.data import Images, load
from covey.federation.partition import Indices, classes, dirichlet, iid, natural, quantity
from covey.platform.errors import UserError
from covey.platform.seeds import derive


class Share(NamedTuple):
    """One client's samples, as sorted indices into the training set; none is in both."""

    train: Indices
    held_out: Indices


@lru_cache(maxsize=2)
def shares(settings: Settings, clients: int) -> tuple[Share, ...]:
    """Every client's share, the same in every process. UserError when the data cannot be dealt out
    as the job says.
    """
    data = load(settings.data)
    left = np.setdiff1d(np.arange(len(data.train_labels)), public_samples(settings))
    try:
        parts = [left[part] for part in _dealt(settings, data, left, clients)]
    except ValueError as error:
        raise UserError(f"data.partition: {error}") from None
    generator = np.random.default_rng(derive(settings.partition_seed, "held-out"))
    priority = generator.random(len(data.train_labels))
    return tuple(_share(part, priority[part], settings.held_out) for part in parts)


@lru_cache(maxsize=2)
def public_samples(settings: Settings) -> Indices:
    """The samples that no client gets, as sorted indices into the training set. UserError when
    that is none although there should be some.
    """
    if not settings.public:
        return np.empty(0, np.int64)
    data = load(settings.data)
    groups = [np.arange(len(data.train_labels))]
    if settings.partition == "natural" and data.train_client is not None:
        groups = natural(data.train_client, len(np.unique(data.train_client)))
    generator = np.random.default_rng(derive(settings.partition_seed, "public"))
    priority = generator.random(len(data.train_labels))
    chosen = []
    for group in groups:
        count = min(round(settings.public * len(group)), len(group) - 1)
        chosen.append(group[np.argsort(priority[group])[:count]])
    found = np.sort(np.concatenate(chosen))
    if not len(found):
        raise UserError(
            f"data.public: found {settings.public:g}, which is no sample of any client; raise it"
        )
    return found


def _dealt(settings: Settings, data: Images, left: Indices, clients: int) -> list[Indices]:
    """Every client's samples, as indices into `left`, which are those that can be dealt out."""
    labels, seed, min_size = data.train_labels[left], settings.partition_seed, settings.min_size
    match settings.partition:
        case "iid":
            return iid(labels, clients, seed, min_size)
        case "dirichlet":
            return dirichlet(labels, clients, settings.alpha, seed, min_size)
        case "classes":
            return classes(labels, clients, settings.classes_per_client, seed, min_size)
        case "quantity":
            return quantity(labels, clients, settings.alpha, seed, min_size)
        case "natural" if data.train_client is not None:
            return natural(data.train_client[left], clients, min_size)
    raise ValueError(f"{settings.data} cannot be dealt out by kind {settings.partition}")


def _share(part: Indices, priority: np.ndarray, fraction: float) -> Share:
    """A share of the fraction is held out, rounded, but at least one sample if one is left to train
    on.
    """
    wanted = max(1, round(fraction * len(part))) if fraction > 0 else 0
    count = min(wanted, len(part) - 1)
    chosen = np.zeros(len(part), bool)
    chosen[np.argsort(priority)[:count]] = True
    return Share(part[~chosen], part[chosen])

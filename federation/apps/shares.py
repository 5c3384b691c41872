"""Which samples each client of a built-in app has: to train on, and held out to be measured on."""

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
    try:
        parts = _dealt(settings, data, clients)
    except ValueError as error:
        raise UserError(f"federated.data.partition: {error}") from None
    generator = np.random.default_rng(derive(settings.partition_seed, "held-out"))
    priority = generator.random(len(data.train_labels))
    return tuple(_share(part, priority[part], settings.held_out) for part in parts)


def _dealt(settings: Settings, data: Images, clients: int) -> list[Indices]:
    labels, seed, min_size = data.train_labels, settings.partition_seed, settings.min_size
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
            return natural(data.train_client, clients, min_size)
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

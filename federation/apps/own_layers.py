"""What a client keeps to itself of the built-in models, where not all of a model is shared.

With `share: head` only the last layer is exchanged, with FedDistill nothing is. The rest stays in
the client's `Context.state`, from the initial model on, which all clients have in common.
"""

from functools import lru_cache

import torch
from flwr.app import ArrayRecord, RecordDict

from covey.federation.apps.models import make_model
from covey.federation.apps.settings import Settings, strategy_of
from covey.federation.data import load
from covey.federation.generators import torch_seed
from covey.federation.records import array_record, entries_of

OWN = "own-layers"
"""The record in a client's state."""
HEAD = "output."
"""What the names of the last layer's arrays begin with."""


def is_shared(settings: Settings, name: str) -> bool:
    """Whether clients and server exchange the array of that name."""
    share = strategy_of(settings).share
    return share == "all" or (share == "head" and name.startswith(HEAD))


def shared(settings: Settings, model: ArrayRecord) -> ArrayRecord:
    """What of a model is exchanged."""
    entries = entries_of(model).items()
    return array_record({name: one for name, one in entries if is_shared(settings, name)})


def own_layers(settings: Settings, state: RecordDict) -> ArrayRecord | None:
    """What a client has kept; None if everything is shared."""
    if strategy_of(settings).share == "all":
        return None
    if OWN in state:
        return state.array_records[OWN]
    return _initial(settings)


@lru_cache(maxsize=2)
def _initial(settings: Settings) -> ArrayRecord:
    """Of the model that the server begins with: it is the first that the server draws."""
    data = load(settings.data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(settings.partition_seed, "server"))
        model = make_model(
            settings.model, data.pixels, data.classes, data.spec.image, settings.hidden
        )
    state = ArrayRecord(model.state_dict())
    mine = {name: one for name, one in state.items() if not is_shared(settings, name)}
    return array_record(mine)

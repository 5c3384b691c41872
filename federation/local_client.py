"""The ClientApp of an app whose local training is a pure function, and one client's training.

`local_program.py` does the same for many clients at once.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from covey.federation.flower_internals import NUM_PARTITIONS_KEY, PARTITION_ID_KEY
from covey.federation.local_training import Client, LocalTraining, Minibatch, Parameters, Round
from covey.federation.numpy_array import numbers_of


class WrongTraining(ValueError):
    """What a LocalTraining has given is not what it must give; says what, in one line."""


@dataclass(frozen=True)
class Trained:
    """The arrays that a client sends, and its metrics."""

    arrays: Parameters
    metrics: dict[str, Any]


def client_app(local: LocalTraining, mods: Sequence[Any] = ()) -> ClientApp:
    """A stock ClientApp that trains so; more functions, as `@app.evaluate()`, can be added to it.

    Draws come from torch's own generator, which our Grids seed for each message; in a process where
    nobody seeds it, they are other ones each time. An app with `mods` is not batched.
    """
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        told = round_of(message, context.run_config)
        node = context.node_config
        client = Client(int(node[PARTITION_ID_KEY]), int(node[NUM_PARTITIONS_KEY]))
        trained = train_alone(local, client, told, torch.default_generator)
        (name,) = message.content.array_records
        arrays = ArrayRecord(OrderedDict(trained.arrays))
        records = RecordDict({name: arrays, "metrics": MetricRecord(trained.metrics)})
        return Message(records, reply_to=message)

    return app


def train_alone(
    local: LocalTraining, client: Client, told: Round, generator: torch.Generator
) -> Trained:
    """One client's training. WrongTraining when `local` does not do what it must."""
    work = Work(local, client, told, generator)
    parameters = beginning(local, told)
    with torch.no_grad():
        while (minibatch := work.next_minibatch()) is not None:
            parameters, metrics = stepped(local, parameters, minibatch, told)
            work.add({name: float(value) for name, value in metrics.items()})
    return work.trained(parameters, told)


class Work:
    """One client's minibatches, one after the other, and what its steps have told so far."""

    def __init__(
        self, local: LocalTraining, client: Client, told: Round, generator: torch.Generator
    ) -> None:
        self._minibatches, self._metrics = _drawn(local, client, told, generator)
        self._sums: dict[str, float] = {}
        self._steps = 0

    def next_minibatch(self) -> tuple[Tensor, ...] | None:
        """None when there is no more."""
        minibatch = next(self._minibatches, None)
        if minibatch is None:
            return None
        listed = isinstance(minibatch, Sequence) and len(minibatch) > 0
        if not listed or not all(isinstance(part, Tensor) for part in minibatch):
            kind = type(minibatch).__name__
            raise WrongTraining(f"a minibatch must be a tuple of tensors, found {kind}")
        return tuple(minibatch)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Count a step."""
        if self._steps and metrics.keys() != self._sums.keys():
            raise WrongTraining(
                f"step gave the metrics {_names(metrics)}, in an earlier step {_names(self._sums)}"
            )
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1

    def trained(self, parameters: Parameters, told: Round) -> Trained:
        """What comes of it. ValueError for a client that had nothing to train on."""
        if not self._steps:
            raise ValueError("minibatches gave none")
        means = {name: total / self._steps for name, total in self._sums.items()}
        return Trained({name: parameters[name] for name in told.received}, means | self._metrics)


def round_of(message: Message, run_config: Mapping[str, Any]) -> Round:
    """What a message tells; ValueError for one that holds not one record of arrays."""
    records = list(message.content.array_records.values())
    if len(records) != 1:
        raise ValueError(f"the message has {len(records)} records of arrays, 1 is needed")
    received = {}
    for name, array in records[0].items():
        tensor = torch.from_numpy(numbers_of(array).copy())
        received[name] = (
            tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
        )
    config = {k: v for record in message.content.config_records.values() for k, v in record.items()}
    return Round(config, run_config, received)


def beginning(local: LocalTraining, told: Round) -> Parameters:
    """What the first step takes: nothing in it is shared with `told`."""
    make = getattr(local, "optimizer_state", None)
    beside = make(told.received) if make is not None else {}
    if not _are_tensors(beside):
        raise WrongTraining("optimizer_state must return a dict of tensors by name")
    if both := beside.keys() & told.received.keys():
        raise WrongTraining(f"optimizer_state and the model both have {_names(both)}")
    return {name: tensor.clone() for name, tensor in (told.received | beside).items()}


def stepped(
    local: LocalTraining, parameters: Parameters, minibatch: Minibatch, told: Round
) -> tuple[Parameters, dict[str, Tensor]]:
    """One step, looked at: shapes and names, no numbers, so that it may run inside `vmap`."""
    result = local.step(dict(parameters), minibatch, told)
    pair = result if isinstance(result, tuple) and len(result) == 2 else (None, None)
    new, metrics = pair
    if not _are_tensors(new) or not isinstance(metrics, Mapping):
        raise WrongTraining(
            "step must return (parameters, metrics), two dicts, the first of tensors"
        )
    if new.keys() != parameters.keys():
        raise WrongTraining(f"step took {_names(parameters)}, and gave {_names(new)}")
    for name, tensor in new.items():
        old = parameters[name]
        if (tensor.shape, tensor.dtype, tensor.device) != (old.shape, old.dtype, old.device):
            raise WrongTraining(f"step took {name} as {_look(old)}, and gave {_look(tensor)}")
    return new, {name: _number(name, value) for name, value in metrics.items()}


def _drawn(
    local: LocalTraining, client: Client, told: Round, generator: torch.Generator
) -> tuple[Iterator[Minibatch], dict[str, int | float]]:
    result = local.minibatches(client, told, generator)
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return iter(result[0]), dict(result[1])
    raise WrongTraining("minibatches must return (minibatches, metrics), the metrics as a dict")


def _number(name: str, value: object) -> Tensor:
    tensor = torch.as_tensor(value) if isinstance(value, int | float) else value
    if not isinstance(tensor, Tensor) or tensor.dim() > 0:
        found = _look(tensor) if isinstance(tensor, Tensor) else type(value).__name__
        raise WrongTraining(f"step gave the metric {name} as {found}; it must be a single number")
    return tensor


def _are_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(t, Tensor) for t in value.values())


def _look(tensor: Tensor) -> str:
    place = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}{place}"


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"

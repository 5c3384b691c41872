"""SCAFFOLD: stochastic controlled averaging (Karimireddy et al. 2020, algorithm 1, option II).

Each client i keeps a control variate c_i, its average gradient when it last trained; the server
keeps their average c. A local step follows gradient - c_i + c, so that a client whose data differ
does not drift away.

Clients count by their samples n_i, as in FedAvg, so c is the average of the c_i by samples. The new
c_i is a function of what the client received and what it sends, so the server works it out too:
a reply is no larger than FedAvg's. A message is twice as large, for it carries c.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from covey.federation.running import has_gradient
from covey.federation.wants import WEIGHT

CONTROL = "control"
"""The record with c in a message, and with c_i in a client's `Context.state`."""

STEPS = "steps"
"""The metric with the number of local steps that a client has taken."""

Arrays = dict[str, NDArray[np.floating]]


class Scaffold(FedAvg):
    """The server's side. Further arguments are FedAvg's.

    `local_learning_rate` is that of the clients' steps, which must be plain gradient descent along
    `gradient + correction(...)`; they call `keep_control` afterwards and report `steps`.
    """

    positive: ClassVar[tuple[str, ...]] = (WEIGHT, STEPS)
    """The metrics of every reply that must be above 0."""

    def __init__(
        self,
        local_learning_rate: float,
        server_learning_rate: float = 1.0,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
    ) -> None:
        super().__init__(
            fraction_train,
            fraction_evaluate,
            min_train_nodes,
            min_evaluate_nodes,
            min_available_nodes,
        )
        self.local_learning_rate = local_learning_rate
        self.server_learning_rate = server_learning_rate
        self.weighted_sum: Arrays = {}
        """The sum of n_i c_i over all clients: exact whoever was asked, so that what one client
        adds and later takes away is the same.
        """
        self.population = 0
        self.replies = 0
        self.examples = 0
        """Together with the two above: the samples of all clients, as far as they are known."""
        self._sent: tuple[Arrays, Arrays] | None = None  # the model and c of this round

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """FedAvg's messages, with c beside the model."""
        self.population = len(list(grid.get_node_ids()))
        model = _numbers(arrays)
        control = self._control(model)
        self._sent = model, control
        record = _record(control)
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            message.content[CONTROL] = record
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new model; c learns from what every client has done."""
        replies = list(replies)
        averaged, metrics = super().aggregate_train(server_round, replies)
        if averaged is None or self._sent is None:
            return averaged, metrics
        model, control = self._sent
        for reply in replies:
            if reply.has_content():
                self._learn(reply, model, control)
        self._sent = None
        if self.server_learning_rate != 1:
            averaged = _moved(averaged, model, self.server_learning_rate)
        return averaged, metrics

    def _control(self, model: Arrays) -> Arrays:
        """c: 0 in the first round."""
        if not self.replies:
            return {name: np.zeros_like(array) for name, array in model.items()}
        everybody = self.population * self.examples / self.replies
        return {
            name: (self.weighted_sum[name] / everybody).astype(array.dtype)
            for name, array in model.items()
        }

    def _learn(self, reply: Message, model: Arrays, control: Arrays) -> None:
        metrics = next(iter(reply.content.metric_records.values()))
        trained = _numbers(next(iter(reply.content.array_records.values())))
        samples = _number(metrics, self.weighted_by_key)
        change = control_change(
            model, trained, control, _number(metrics, STEPS) * self.local_learning_rate
        )
        for name, array in change.items():
            self.weighted_sum[name] = self.weighted_sum.get(name, 0.0) + samples * array.astype(
                np.float64
            )
        self.replies += 1
        self.examples += int(samples)


def correction(message: Message, context: Context) -> Arrays:
    """What a client adds to every gradient, by the names of the weights: c - c_i."""
    control = _numbers(message.content.array_records[CONTROL])
    kept = _kept(context)
    return {name: array - kept.get(name, 0) for name, array in control.items()}


def keep_control(
    message: Message, context: Context, received: ArrayRecord, trained: ArrayRecord, time: float
) -> None:
    """Bring c_i, in the client's state, up to date after its training.

    `time` is its number of steps times their learning rate.
    """
    control = _numbers(message.content.array_records[CONTROL])
    change = control_change(_numbers(received), _numbers(trained), control, time)
    kept = _kept(context)
    context.state[CONTROL] = _record(
        {name: array + kept.get(name, 0) for name, array in change.items()}
    )


def control_change(received: Arrays, trained: Arrays, control: Arrays, time: float) -> Arrays:
    """New minus old c_i: (x - y_i) / (K eta) - c. Client and server compute the same numbers."""
    return {
        name: (array - trained[name]) / array.dtype.type(time) - control[name]
        for name, array in received.items()
    }


def _kept(context: Context) -> Arrays:
    record = context.state.array_records.get(CONTROL)
    return _numbers(record) if record is not None else {}


def _numbers(record: ArrayRecord) -> Arrays:
    """The arrays that are trained: counters, running means and the like have no gradient."""
    arrays = {name: array.numpy() for name, array in record.items() if has_gradient(name)}
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f"}


def _record(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


def _moved(averaged: ArrayRecord, model: Arrays, rate: float) -> ArrayRecord:
    """From the old model so far along the way to the average."""
    moved: ArrayRecord = averaged.copy()
    for name, old in model.items():
        step = averaged[name].numpy() - old
        moved[name] = Array(np.asarray(old + old.dtype.type(rate) * step))
    return moved


def _number(metrics: Mapping[str, object], name: str) -> float:
    """A metric; ValueError where a client has not told a positive number."""
    value = metrics.get(name)
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"SCAFFOLD needs {name} above 0 in every client's metrics, found {value}")
    return float(value)

"""FedBuff: buffered asynchronous training (Nguyen et al. 2022, arXiv 2106.06639, algorithm 1).

`concurrency` clients train at any time, each from the model that was newest when it was started.
When `buffer` of them have answered, the server makes an update:

    x <- x + server_learning_rate * sum_i p_i * (1 + tau_i)^-exponent * (y_i - x_i)

with client i's model y_i, the model x_i that it was given, tau_i the updates made since then, and
p_i its share of the buffer's samples. (The paper has p_i = 1 / buffer. With shares, no staleness
and a server learning rate of 1 the update is that of FedAvg, bit for bit.)
"""

import heapq
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from covey.federation.asynchronous import Choose, FaultOf
from covey.federation.faults import NO_FAULT, Fault

Flight = tuple[float, int, int, int, str | None]
"""A client that trains: when it finishes (simulated seconds), the number of its start, its node,
the model's version that it was given, and why it will never answer (None: it will).
"""


class FedBuff(FedAvg):
    """A stock strategy: with Flower's own loop clients take no time. Its state is plain values.

    Free places are filled after an update, and within a round when all have landed that finish at
    the same moment. Within a round no client is started again that has finished in it. `choose` and
    `fault_of` are for our loop to set.
    """

    def __init__(
        self,
        buffer: int,
        concurrency: int,
        staleness_exponent: float = 0.5,
        server_learning_rate: float = 1.0,
        **more: Any,
    ) -> None:
        super().__init__(
            fraction_train=1e-9,
            fraction_evaluate=0.0,
            min_train_nodes=buffer,
            min_available_nodes=max(buffer, concurrency),
            **more,
        )
        self.buffer = buffer
        self.concurrency = concurrency
        self.staleness_exponent = staleness_exponent
        self.server_learning_rate = server_learning_rate
        self.clock_s = 0.0
        self.starts = 0
        self.flights: list[Flight] = []
        """A heap."""
        self.versions: dict[int, ArrayRecord] = {}
        """The models that clients in flight were given, by the number of updates before them."""
        self.configs: dict[int, ConfigRecord] = {}
        self.landed: dict[int, int] = {}
        """Versions of the nodes that have finished in this round."""
        self.lost: dict[int, Fault] = {}
        self.choose: Choose = _any
        self.fault_of: FaultOf = _never

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of the next `buffer` clients to finish."""
        return self.configure_more(server_round, arrays, config, grid, ())

    def configure_more(
        self,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
        good: Sequence[Message],
    ) -> list[Message]:
        """See `Asynchronous`."""
        version = server_round - 1
        config["server-round"] = server_round
        if version not in self.versions:
            self.versions[version], self.configs[version] = arrays, config.copy()
        self.lost = {}
        barred = {reply.metadata.src_node_id for reply in good}
        wanted = self.buffer - len(barred)
        population = list(grid.get_node_ids())
        messages: list[Message] = []
        self._start(server_round, population, barred)
        while len(messages) - len(self.lost) < wanted:
            if not self.flights or self.flights[0][0] > self.clock_s:
                self._start(server_round, population, barred)
            if not self.flights:
                break
            messages.append(self._land())
            barred.add(messages[-1].metadata.dst_node_id)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The update of the module's docstring, and how stale its parts were."""
        replies, version = list(replies), server_round - 1
        valid, _ = self._check_and_log_replies(replies, is_train=True)
        if not valid:
            return None, None
        staleness = [version - self.landed[reply.metadata.src_node_id] for reply in valid]
        if self.server_learning_rate == 1 and not any(staleness):
            arrays, metrics = super().aggregate_train(server_round, valid)
        else:
            contents = [reply.content for reply in valid]
            arrays = self._updated(version, contents, staleness)
            metrics = self.train_metrics_aggr_fn(contents, self.weighted_by_key)
        if metrics is not None:
            metrics["staleness_mean"] = float(np.mean(staleness))
            metrics["staleness_max"] = max(staleness)
        self._forget()
        return arrays, metrics

    def _start(self, server_round: int, population: list[int], barred: set[int]) -> None:
        """Fill the free places with clients that do nothing now."""
        free = self.concurrency - len(self.flights)
        if free == 0:
            return
        busy = barred | {flight[2] for flight in self.flights}
        idle = [node for node in population if node not in busy]
        for node in self.choose(idle, min(free, len(idle)), population):
            fault = self.fault_of(node, server_round, self.starts)
            end_s = self.clock_s + fault.delay_s
            heapq.heappush(self.flights, (end_s, self.starts, node, server_round - 1, fault.lost))
            self.starts += 1

    def _land(self) -> Message:
        """The message of the client that finishes next; the clock goes on to that moment."""
        self.clock_s, _, node, version, lost = heapq.heappop(self.flights)
        self.landed[node] = version
        if lost is not None:
            self.lost[node] = Fault(0.0, lost)
        records: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
            self.arrayrecord_key: self.versions[version],
            self.configrecord_key: self.configs[version],
        }
        return Message(RecordDict(records), node, MessageType.TRAIN)

    def _updated(
        self, version: int, contents: Sequence[RecordDict], staleness: Sequence[int]
    ) -> ArrayRecord:
        weights = [_weight(content, self.weighted_by_key) for content in contents]
        new: dict[str, NDArray[Any]] = {
            name: array.numpy() for name, array in self.versions[version].items()
        }
        for content, weight, tau in zip(contents, weights, staleness, strict=True):
            share = weight / sum(weights) * (1 + tau) ** -self.staleness_exponent
            given = self.versions[version - tau]
            (trained,) = content.array_records.values()
            for name, array in trained.items():
                change = array.numpy() - given[name].numpy()
                new[name] = new[name] + change * (share * self.server_learning_rate)
        return ArrayRecord({name: Array(np.asarray(numbers)) for name, numbers in new.items()})

    def _forget(self) -> None:
        """Only what clients in flight were given is needed from now on."""
        needed = {flight[3] for flight in self.flights}
        self.versions = {number: self.versions[number] for number in sorted(needed)}
        self.configs = {number: self.configs[number] for number in sorted(needed)}
        self.landed, self.lost = {}, {}


def _weight(content: RecordDict, key: str) -> float:
    (metrics,) = content.metric_records.values()
    value = metrics[key]
    assert isinstance(value, int | float)  # Flower has checked it
    return value


def _any(nodes: list[int], size: int, _population: list[int]) -> list[int]:
    return random.sample(nodes, size)


def _never(*_occasion: int) -> Fault:
    return NO_FAULT

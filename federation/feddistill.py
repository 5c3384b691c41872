"""Federated distillation's server (Jeong et al. 2018, "Communication-efficient on-device machine
learning", section 3), around the strategy that makes the new model, if there is one to make.

Clients tell the mean logits of their samples by label; the server averages those of each label over
the clients that have it, and clients are drawn towards that average. If nothing else is exchanged
this is FedDistill, with models as well FedDistill+ (both as in Zhu et al. 2021's comparison).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from covey.federation.numpy_array import NumpyArray
from covey.federation.records import array_record, entries_of, records_in
from covey.federation.wrapping import Wrapping

LOGITS = "label-logits"
"""The record with the average in a message, the key of its weight in the config, and the metric
with a client's own, label by label.
"""
LABELS = "logit-labels"
"""The metric with 1 for each label that these are of, 0 for the others: all replies are of one
form.
"""


class FedDistill(Wrapping):
    """`strategy` chooses the clients and averages what is exchanged of their models."""

    def __init__(self, strategy: Strategy, weight: float) -> None:
        self.strategy = strategy
        self.logits: NDArray[np.float64] = np.zeros((0, 0))
        """[classes, classes]: by label, the average of the newest round in which it was told."""
        self.known: NDArray[np.bool_] = np.zeros(0, bool)
        """[classes]: the labels that anybody has told of."""
        self._weight = weight

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with the logits beside the model."""
        if self._weight:
            config[LOGITS] = self._weight
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        if self.known.any():
            record = array_record(
                {
                    "logits": NumpyArray(self.logits.astype(np.float32)),
                    "known": NumpyArray(self.known.astype(np.float32)),
                }
            )
            for message in messages:
                message.content[LOGITS] = record
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's new model, and the new average of logits."""
        replies = list(replies)
        contents = [reply.content for reply in replies if reply.has_content()]
        told = [_taken(records_in(content, MetricRecord)) for content in contents]
        averaged, metrics = self.strategy.aggregate_train(server_round, replies)
        if averaged is not None:
            self._learn([each for each in told if each is not None])
        return averaged, metrics

    def _learn(self, told: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
        """From the labels [classes] and logits [classes, classes] of each client."""
        classes = len(self.known) or (len(told[0][0]) if told else 0)
        alike = [each for each in told if len(each[0]) == classes]
        if not alike:
            return
        if not len(self.known):
            self.logits, self.known = np.zeros((classes, classes)), np.zeros(classes, bool)
        has = np.stack([labels for labels, _ in alike]) > 0  # [K, classes]
        count = has.sum(0)
        sums = (np.stack([logits for _, logits in alike]) * has[:, :, None]).sum(0)
        self.logits[count > 0] = (sums / np.maximum(count, 1)[:, None])[count > 0]
        self.known |= count > 0


def _taken(
    metrics: Sequence[MetricRecord],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """A client's labels and their logits, taken out of what the strategy averages."""
    for record in metrics:
        entries: dict[str, Any] = entries_of(record)
        labels, logits = entries.pop(LABELS, []), entries.pop(LOGITS, [])
        if labels and len(logits) == len(labels) ** 2 and np.isfinite(logits).all():
            rows = np.asarray(logits, np.float64).reshape(len(labels), -1)
            return np.asarray(labels, np.float64), rows
    return None

"""Metrics of clients that are no numbers: without them an average says something of the others.

Such a client's model may be as good as any: what spoils the model itself is refused elsewhere.
"""

import math
from collections.abc import Sequence

from flwr.app import Message, MetricRecord

from covey.federation.losses import Tell, good
from covey.federation.records import entries_of, records_in

Metrics = dict[str, float]
"""The single numbers of a record."""


def fill_gaps(tell: Tell, where: str, replies: Sequence[Message], weight: str) -> None:
    """Put the weighted mean of the other clients in the place of a metric that is not finite, which
    leaves their mean as it is. Tells who it was, unless the client weighs nothing.
    """
    records = [(reply, _only(reply)) for reply in good(replies)]
    numbers = [
        {name: value for name, value in entries_of(record).items() if type(value) in (int, float)}
        for _, record in records
    ]
    if all(math.isfinite(value) for mine in numbers for value in mine.values()):
        return  # as is nearly always so
    gaps: list[tuple[int, str]] = []
    for (reply, record), mine in zip(records, numbers, strict=True):
        for name, value in mine.items():
            if name == weight or math.isfinite(value):
                continue
            mean = _mean(numbers, name, weight)
            if mean is not None:
                record[name] = mean
                if mine.get(weight) != 0:
                    gaps.append((reply.metadata.src_node_id, f"{name} {value}"))
    if gaps:
        node, what = gaps[0]
        text = f"{where}: node {node} tells {what}, which is left out of the average"
        tell("client-metric", text, nodes=sorted({node for node, _ in gaps}))


def _only(reply: Message) -> MetricRecord:
    """The metrics of a reply, which holds one record of them if it can be averaged at all."""
    return next(iter(records_in(reply.content, MetricRecord)), MetricRecord())


def _mean(numbers: Sequence[Metrics], name: str, weight: str) -> float | None:
    """Over the clients that tell a finite number; None if there are none."""
    told = [(one.get(weight, 1), one[name]) for one in numbers if name in one]
    told = [(share, value) for share, value in told if math.isfinite(value)]
    total = sum(share for share, _ in told)
    if not total:
        return sum(value for _, value in told) / len(told) if told else None
    return sum(share / total * value for share, value in told)

"""Measure the global model on clients' own data: who is asked, what is made of the answers."""

import math

from flwr.app import MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, Strategy


def evaluate_on_clients(strategy: Strategy, clients: int) -> None:
    """Let a strategy of Flower's FedAvg family, wrapped or not, ask `clients` clients a round to
    measure the model; 0 leaves it as it is. Flower draws them anew, not those that have trained.
    """
    inner: object = strategy
    while clients and isinstance(inner, Strategy):
        if isinstance(inner, FedAvg):
            # The size is the larger of fraction * clients (rounded down) and the minimum.
            inner.fraction_evaluate, inner.min_evaluate_nodes = 1e-9, clients
            inner.evaluate_metrics_aggr_fn = combined
            return
        inner = getattr(inner, "strategy", None)


def combined(replies: list[RecordDict], _weighted_by: str) -> MetricRecord:
    """Means over clients, each counting the same however many samples it has, and the mean accuracy
    of the worst tenth of them (rounded up), as Li et al. 2020 (q-FFL), section 4, report fairness.

    Clients that have held nothing out say nothing; of such alone the record is empty. Clients with
    models of their own count, for `accuracy_seen_labels`, the test samples of their own labels.
    """
    found = [next(iter(reply.metric_records.values())) for reply in replies]
    asked = [metrics for metrics in found if metrics["num-examples"]]
    if not asked:
        return MetricRecord()
    accuracies = sorted(_number(metrics, "accuracy") for metrics in asked)
    worst = accuracies[: math.ceil(len(accuracies) / 10)]
    seen = {}
    if "seen" in asked[0]:
        right, count = (sum(_number(one, name) for one in asked) for name in ("seen-right", "seen"))
        seen = {"accuracy_seen_labels": right / count}
    return MetricRecord(
        {
            "accuracy": math.fsum(accuracies) / len(accuracies),
            "accuracy_worst_decile": math.fsum(worst) / len(worst),
            **seen,
            "loss": math.fsum(_number(metrics, "loss") for metrics in asked) / len(asked),
            "count": len(asked),
        }
    )


def _number(metrics: MetricRecord, name: str) -> float:
    value = metrics[name]
    assert isinstance(value, int | float)
    return value

"""A round's numbers as they are reported: what the server and the clients say, under one name each.

Training figures begin with `train_`, the clients' evaluation with `client_`, the server's own with
nothing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flwr.app import MetricRecord
    from flwr.serverapp.strategy import Strategy

ACCURACY_NAMES = ("accuracy", "acc", "eval_acc", "eval_accuracy", "test_acc", "test_accuracy")
SEEN = "accuracy_seen_labels"


def figures_of(metrics: "MetricRecord", prefix: str) -> dict[str, float]:
    """The single numbers of a record, each under a name that begins with `prefix`.

    A name that has the prefix keeps it: `train_loss` is not `train_train_loss`, unless there is a
    `loss` beside it, which takes that name.
    """
    numbers = {
        name: float(value) for name, value in metrics.items() if isinstance(value, int | float)
    }
    return {
        name if _stands_alone(name, prefix, numbers) else prefix + name: value
        for name, value in numbers.items()
    }


def with_accuracy(figures: Mapping[str, float], server_evaluates: bool) -> dict[str, float]:
    """The figures with `accuracy`, and `accuracy_seen_labels` if there is one: the server's, or the
    clients' own if there is no other.
    """
    prefix = "" if server_evaluates else "client_"
    names = [prefix + name for name in ACCURACY_NAMES if prefix + name in figures]
    found = {"accuracy": figures[names[0]]} if names else {}
    if prefix + SEEN in figures:
        found[SEEN] = figures[prefix + SEEN]
    return {**figures, **found}


def strategy_figures(strategy: "Strategy") -> dict[str, float]:
    """What a strategy, or one that it wraps, tells of itself in its attribute `figures`."""
    from covey.federation.sampling import wrapped  # which imports Flower

    found: dict[str, float] = {}
    for inner in wrapped(strategy):
        own = getattr(inner, "figures", None)
        if isinstance(own, dict):
            found |= {name: value for name, value in own.items() if isinstance(value, float)}
    return found


def _stands_alone(name: str, prefix: str, numbers: Mapping[str, float]) -> bool:
    """Whether a name has the prefix already, and nobody else is about to get that name."""
    return name.startswith(prefix) and (not prefix or name.removeprefix(prefix) not in numbers)

"""What a strategy needs of its clients' replies, so that one reply cannot spoil a round."""

from dataclasses import dataclass

from flwr.serverapp.strategy import FedAvg, FedXgbBagging, FedXgbCyclic, Strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from covey.federation.sampling import wrapped

WEIGHT = "num-examples"
"""Flower's name for the metric that clients are weighed by, unless a strategy says another."""


@dataclass(frozen=True)
class Wants:
    """Of the replies to train, or to evaluate. By default nothing but numbers: a strategy of an
    app's own may take anything.
    """

    weight: str = WEIGHT
    """The metric that clients are weighed by."""
    trains: bool = True
    """Whether a reply holds a model, and not metrics alone."""
    alike: bool = False
    """Whether all replies must have one form, as Flower's FedAvg and all that inherit from it ask:
    one record of arrays, one of metrics, and the same names in all.
    """
    averages: bool = False
    """Whether metrics are averaged by weight, as Flower does unless an app does it itself."""
    shapes: bool = True
    """Whether arrays with the sent names have the sent shapes. Trees of XGBoost have not."""
    arrays: str | None = None
    """The record that must come back just as it was sent, if the clients' code is known."""
    positive: tuple[str, ...] = ()
    """Metrics that must be there, above 0."""


def wants_of(strategy: Strategy, trains: bool, built_in: bool) -> Wants:
    """What a strategy, or the one it wraps, needs; the clients of a `built_in` app are ours."""
    inners = list(wrapped(strategy))
    averaging = next((inner for inner in inners if isinstance(inner, FedAvg)), None)
    if averaging is None:
        name = getattr(strategy, "weighted_by_key", WEIGHT)
        return Wants(name if isinstance(name, str) else WEIGHT, trains)
    does = averaging.train_metrics_aggr_fn if trains else averaging.evaluate_metrics_aggr_fn
    return Wants(
        weight=averaging.weighted_by_key,
        trains=trains,
        alike=True,
        averages=does is aggregate_metricrecords,
        shapes=not isinstance(averaging, FedXgbBagging | FedXgbCyclic),
        arrays=averaging.arrayrecord_key if built_in and trains else None,
        positive=getattr(averaging, "positive", ()) if trains else (),
    )

"""What must hold between a built-in app's strategy and what stands around it."""

from typing import get_args

from covey.federation.compression_section import CompressionSection
from covey.federation.privacy_section import AdaptiveClipping, PrivacySection
from covey.federation.strategies.label_logits import FedDistillOptions
from covey.federation.strategies.options import StrategyOptions
from covey.federation.strategies.registry import StrategySection
from covey.platform.errors import KeyProblem

OPTIONS: dict[str, type[StrategyOptions]] = {
    get_args(options.model_fields["name"].annotation)[0]: options
    for options in get_args(get_args(StrategySection)[0])
}
"""The options of every strategy, by its name."""


def check_strategy(
    strategy: StrategyOptions,
    privacy: PrivacySection | None,
    compression: CompressionSection | None,
    cohort: int,
    app: str,
) -> None:
    """KeyProblem for what cannot work, with what would."""
    if strategy.needs_latents and app == "logistic":
        raise KeyProblem(
            ("federated", "app"),
            "found logistic, which has no hidden layer for a generator to imitate; allowed are "
            "mlp, cnn, strided-cnn",
        )
    _check_share(strategy, app)
    if problem := strategy.problem(cohort):
        raise KeyProblem(("federated", "strategy", *problem[0].split(".")), problem[1])
    if privacy is not None and (key := strategy.tells_more):
        raise KeyProblem(
            ("federated", "strategy", key),
            "is not covered by the noise of differential_privacy; write withheld",
        )
    if privacy is not None and strategy.too_telling:
        raise KeyProblem(
            ("federated", "differential_privacy"),
            f"cannot stand around {strategy.model_dump()['name']}: {strategy.too_telling}",
        )
    name = next(name for name, options in OPTIONS.items() if isinstance(strategy.inner, options))
    if privacy is not None and not strategy.inner.averages:
        fitting = [other for other, options in OPTIONS.items() if options.averages]
        raise KeyProblem(
            ("federated", "differential_privacy"),
            f"cannot stand around {name}: the noise is right for plain averages only; allowed "
            f"are {', '.join(fitting)}",
        )
    if isinstance(privacy, AdaptiveClipping) and (text := privacy.problem(cohort)):
        raise KeyProblem(("federated", "differential_privacy", "noise_multiplier"), text)
    if compression is not None and not strategy.inner.bears_compression:
        raise KeyProblem(
            ("federated", "compression"),
            f"cannot stand beside {name}, whose server needs to know more of a client than its "
            "update from the newest model; leave one of them out",
        )


def _check_share(strategy: StrategyOptions, app: str) -> None:
    key = ("federated", "strategy", "share")
    if strategy.share == "nothing" and not isinstance(strategy, FedDistillOptions):
        raise KeyProblem(key, "found nothing, allowed are all, head; feddistill shares no model")
    if strategy.share == "head" and app == "logistic":
        raise KeyProblem(key, "found head, but logistic has one layer only; allowed is all")
    if strategy.inner is not strategy and strategy.inner.share != "all":
        raise KeyProblem(
            ("federated", "strategy", "average", "share"), "belongs beside average, not in it"
        )

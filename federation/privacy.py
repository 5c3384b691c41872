"""Central differential privacy: Flower's wrappers with an accountant, and what was spent so far.

The server clips each client's update and adds Gaussian noise to the average. Every client counts
alike, whatever its number of samples, for one client's share of the average must be bounded. The
account says nothing of metrics such as a client's loss, which travel as they are.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import (
    GaussianPrivacyEvent,
    Grid,
    NeighboringRelation,
    PrivacyAccountant,
    PrivacyConfig,
    SamplingMethod,
)
from flwr.serverapp.exception import PrivacyBudgetExhausted
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    Strategy,
)

from covey.federation.privacy_section import AdaptiveClipping, PrivacySection
from covey.federation.sampling import wrapped

Aggregated = tuple[ArrayRecord | None, MetricRecord | None]


class FixedClippingPrivacy(DifferentialPrivacyServerSideFixedClipping):
    """Flower's wrapper around a FedAvg, whose clients count alike."""

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Aggregated:
        """The noisy average; nothing for a round in which a client failed."""
        return super().aggregate_train(server_round, _counted_alike(self.strategy, replies))


class AdaptiveClippingPrivacy(DifferentialPrivacyServerSideAdaptiveClipping):
    """Flower's wrapper around a FedAvg, with an account.

    The two noises of a round, on the updates and on the count of those within the norm, are
    together one Gaussian release with the noise multiplier that was asked for (Andrew et al. 2021,
    theorem 1).
    """

    def __init__(self, strategy: FedAvg, accountant: PrivacyAccountant, **options: Any) -> None:
        super().__init__(strategy, **options)
        self.accountant = accountant
        self._both_noises: float = options["noise_multiplier"]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of a round; PrivacyBudgetExhausted when it would spend too much."""
        limit = self.accountant.config.max_epsilon
        if limit is not None and self.accountant.would_exceed(self._release()):
            raise PrivacyBudgetExhausted(f"another round would spend more than epsilon {limit}")
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Aggregated:
        """The noisy average; nothing for a round in which a client failed or is missing."""
        replies = _counted_alike(self.strategy, replies)
        if len(replies) != self.num_sampled_clients:
            return None, None
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is not None:
            self.accountant.compose(self._release())
        return arrays, metrics

    def _release(self) -> GaussianPrivacyEvent:
        return GaussianPrivacyEvent(
            noise_multiplier=self._both_noises,
            sample_size=self.num_sampled_clients,
            population_size=self.accountant.config.population_size,
        )

    def _geometric_update(self, clipped_fraction: float) -> None:
        # Flower counts the updates that were clipped, and the paper those that were not: with its
        # count the norm would shrink, and go on shrinking, where it should grow.
        super()._geometric_update(1 - clipped_fraction)


def make_private(
    strategy: FedAvg, options: PrivacySection, cohort: int, population: int
) -> Strategy:
    """The strategy with clipping, noise and an account that counts on no luck in the sampling."""
    from flwr.serverapp import RdpAccountant  # takes seconds

    accountant = RdpAccountant(
        PrivacyConfig(
            target_delta=options.delta,
            population_size=population,
            neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
            sampling_method=SamplingMethod.NO_AMPLIFICATION,
            max_epsilon=options.max_epsilon,
        )
    )
    if isinstance(options, AdaptiveClipping):
        return AdaptiveClippingPrivacy(
            strategy,
            accountant,
            noise_multiplier=options.noise_multiplier,
            num_sampled_clients=cohort,
            initial_clipping_norm=options.initial_clipping_norm,
            target_clipped_quantile=options.target_quantile,
            clip_norm_lr=options.clipping_learning_rate,
            clipped_count_stddev=options.count_deviation,
        )
    return FixedClippingPrivacy(
        strategy,
        options.noise_multiplier,
        options.clipping_norm,
        cohort,
        accountant=accountant,
    )


def privacy_figures(strategy: Strategy) -> dict[str, float]:
    """`epsilon` spent so far and the norm that updates are clipped to, of a private strategy."""
    for inner in wrapped(strategy):
        accountant = getattr(inner, "accountant", None)
        if is_accountant(accountant):
            figures = {"epsilon": accountant.get_privacy_spent().epsilon}
            norm = getattr(inner, "clipping_norm", None)
            return figures if norm is None else {**figures, "clipping_norm": float(norm)}
    return {}


def is_accountant(value: object) -> TypeGuard[PrivacyAccountant]:
    """Whether a value has the methods of Flower's accountants that tell and restore a ledger."""
    names = ("compose", "get_privacy_spent", "state_dict", "load_state_dict")
    return all(callable(getattr(value, name, None)) for name in names)


def _counted_alike(strategy: Strategy, replies: Iterable[Message]) -> list[Message]:
    """The replies, each with the same weight in the average."""
    replies = list(replies)
    key = strategy.weighted_by_key if isinstance(strategy, FedAvg) else "num-examples"
    for reply in replies:
        for metrics in reply.content.metric_records.values() if reply.has_content() else ():
            if key in metrics:
                metrics[key] = 1
    return replies

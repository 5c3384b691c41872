"""Central differential privacy: Flower's wrappers with an accountant, and what was spent so far.

The server clips each client's update and adds Gaussian noise to their sum over the cohort's size.
Every client counts alike, whatever its number of samples, for one client's share must be bounded. A
client that is lost is one whose update is 0: the sum over the size that the job says, and the noise
with it, are as private as with all of them. The account says nothing of metrics such as a client's
loss, which travel as they are.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
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
from numpy.typing import NDArray

from covey.federation.noise import Noise
from covey.federation.privacy_section import AdaptiveClipping, PrivacySection
from covey.federation.sampling import wrapped

Aggregated = tuple[ArrayRecord | None, MetricRecord | None]
Numbers = dict[str, NDArray[Any]]


class _Accounted(Strategy):
    """A round of both wrappers, which stand around a FedAvg. It is for them to say what becomes of
    the norm.
    """

    strategy: Strategy
    num_sampled_clients: int
    noise_multiplier: float
    clipping_norm: float
    account: PrivacyAccountant
    noise: Noise
    release_multiplier: float
    """Of all noises of a round as one Gaussian release."""
    _model: Numbers

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of a round; PrivacyBudgetExhausted when it would spend too much."""
        limit = self.account.config.max_epsilon
        if limit is not None and self.account.would_exceed(self._release()):
            spent = self.account.get_privacy_spent().epsilon
            raise PrivacyBudgetExhausted(
                f"another round would exceed max_epsilon {limit}: {spent:.6g} is spent"
            )
        self._model = {name: array.numpy() for name, array in arrays.items()}
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Aggregated:
        """The noisy average over the cohort; nothing when nobody has replied."""
        contents = [reply.content for reply in replies if reply.has_content()]
        if not contents:
            return None, None
        cohort, model, self._model = self.num_sampled_clients, self._model, {}
        total = {name: np.zeros(array.shape, np.float64) for name, array in model.items()}
        within = 0
        for content in contents:
            (arrays,) = content.array_records.values()
            update = {
                name: np.subtract(arrays[name].numpy(), array, dtype=np.float64)
                for name, array in model.items()
            }
            norm = float(np.sqrt(sum(float((part**2).sum()) for part in update.values())))
            within += norm <= self.clipping_norm
            for name, part in update.items():
                total[name] += part * min(1.0, self.clipping_norm / max(norm, 1e-300))
        deviation = self.noise_multiplier * self.clipping_norm
        new = {
            name: model[name] + (total[name] + self.noise(deviation, total[name].shape)) / cohort
            for name in model
        }
        self._within(within, len(contents))
        self.account.compose(self._release())
        made = {name: Array(np.asarray(new[name], model[name].dtype)) for name in model}
        return ArrayRecord(made), self._metrics(contents)

    def _within(self, within: int, replies: int) -> None:
        """So many of the replies were not longer than the norm."""

    def _metrics(self, contents: list[RecordDict]) -> MetricRecord:
        """All clients count alike here too."""
        assert isinstance(self.strategy, FedAvg)
        key = self.strategy.weighted_by_key
        for content in contents:
            for metrics in content.metric_records.values():
                metrics[key] = 1
        return self.strategy.train_metrics_aggr_fn(contents, key)

    def _release(self) -> GaussianPrivacyEvent:
        return GaussianPrivacyEvent(
            noise_multiplier=self.release_multiplier,
            sample_size=self.num_sampled_clients,
            population_size=self.account.config.population_size,
        )


class FixedClippingPrivacy(_Accounted, DifferentialPrivacyServerSideFixedClipping):
    """Flower's wrapper, that bears lost clients."""

    def __init__(
        self, strategy: FedAvg, account: PrivacyAccountant, noise: Noise, **options: Any
    ) -> None:
        super().__init__(strategy, **options)
        self.account, self.noise = account, noise
        self.release_multiplier = self.noise_multiplier


class AdaptiveClippingPrivacy(_Accounted, DifferentialPrivacyServerSideAdaptiveClipping):
    """Flower's wrapper, that bears lost clients, with an account.

    The two noises of a round, on the updates and on the count of those within the norm, are
    together one Gaussian release with the noise multiplier that was asked for (Andrew et al. 2021,
    theorem 1).
    """

    def __init__(
        self, strategy: FedAvg, account: PrivacyAccountant, noise: Noise, **options: Any
    ) -> None:
        super().__init__(strategy, **options)
        self.account, self.noise = account, noise
        self.release_multiplier = options["noise_multiplier"]

    def _within(self, within: int, replies: int) -> None:
        # Each client adds 1/2 if it is within and takes 1/2 away if it is not, as in the paper's
        # section 3: one that is lost does neither. (Flower counts those that were clipped: with its
        # count the norm would go on shrinking where it should grow.)
        count = within - replies / 2 + float(self.noise(self.clipped_count_stddev, ()))
        self._geometric_update(0.5 + count / self.num_sampled_clients)


def make_private(
    strategy: FedAvg, options: PrivacySection, cohort: int, population: int, noise: Noise
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
            noise,
            noise_multiplier=options.noise_multiplier,
            num_sampled_clients=cohort,
            initial_clipping_norm=options.initial_clipping_norm,
            target_clipped_quantile=options.target_quantile,
            clip_norm_lr=options.clipping_learning_rate,
            clipped_count_stddev=options.count_deviation,
        )
    return FixedClippingPrivacy(
        strategy,
        accountant,
        noise,
        noise_multiplier=options.noise_multiplier,
        clipping_norm=options.clipping_norm,
        num_sampled_clients=cohort,
    )


def privacy_figures(strategy: Strategy) -> dict[str, float]:
    """`epsilon` spent so far and the norm that updates are clipped to, of a private strategy."""
    for inner in wrapped(strategy):
        account = getattr(inner, "account", None) or getattr(inner, "accountant", None)
        if is_accountant(account):
            figures = {"epsilon": account.get_privacy_spent().epsilon}
            norm = getattr(inner, "clipping_norm", None)
            return figures if norm is None else {**figures, "clipping_norm": float(norm)}
    return {}


def is_accountant(value: object) -> TypeGuard[PrivacyAccountant]:
    """Whether a value has the methods of Flower's accountants that tell and restore a ledger."""
    names = ("compose", "get_privacy_spent", "state_dict", "load_state_dict")
    return all(callable(getattr(value, name, None)) for name in names)


def forget_release(strategy: Strategy, number: int) -> None:
    """A round of Flower's own wrapper came to nothing: it may be configured again."""
    for inner in wrapped(strategy):
        pending = getattr(inner, "_pending_events", None)
        if isinstance(pending, dict):
            pending.pop(number, None)

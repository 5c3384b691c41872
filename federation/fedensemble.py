"""FedEnsemble (the comparison of Zhu et al. 2021, after Lin et al. 2020): training is another
strategy's; what is tested is all clients' newest models together.
"""

from collections.abc import Iterable, Sequence

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from covey.federation.ensemble import trained_models
from covey.federation.numpy_array import NumpyArray
from covey.federation.records import array_record
from covey.federation.sampling import wrapped
from covey.federation.wrapping import Wrapping


class FedEnsemble(Wrapping):
    """Keeps one model of each client that has ever trained, here and in checkpoints."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.models: dict[int, ArrayRecord] = {}
        """By node, in the order of their numbers."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's own result; the clients' models take the place of their older ones."""
        replies = list(replies)
        averaged, metrics = self.strategy.aggregate_train(server_round, replies)
        if averaged is not None:
            new = {node: _copy(model) for node, model in trained_models(replies).items()}
            self.models = dict(sorted((self.models | new).items()))
        return averaged, metrics


def voters(strategy: Strategy, arrays: ArrayRecord) -> Sequence[ArrayRecord] | None:
    """Whose logits are to be tested: the clients' models, the model `arrays` before there are any.
    None with a strategy that has no ensemble.
    """
    for inner in wrapped(strategy):
        if isinstance(inner, FedEnsemble):
            return list(inner.models.values()) or [arrays]
    return None


def _copy(model: ArrayRecord) -> ArrayRecord:
    """In memory of its own: a reply's arrays may be slices of those of a whole cohort."""
    return array_record({name: NumpyArray(array.numpy()) for name, array in model.items()})

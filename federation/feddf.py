"""FedDF's server (Lin et al. 2020, algorithm 1), around the strategy that makes the new model: what
the clients' models say together of public samples is taught to the new model, which goes on from
there.
"""

from collections.abc import Callable, Iterable

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy
from torch import Tensor, nn

from covey.federation.distillation import Distillation, distil
from covey.federation.ensemble import Ensemble, trained_models
from covey.federation.numpy_array import NumpyArray
from covey.federation.records import array_record
from covey.federation.wrapping import Wrapping


class FedDF(Wrapping):
    """The teachers are the clients of the round. `make_model`: a model of their architecture with
    any weights; `public_images`: what the server has, [N, pixels], without labels.
    """

    def __init__(
        self,
        strategy: Strategy,
        distillation: Distillation,
        make_model: Callable[[], nn.Module],
        public_images: Callable[[], Tensor],
    ) -> None:
        self.strategy = strategy
        self.figures: dict[str, float] = {}
        self._distillation = vars(distillation)
        self._make_model = make_model
        self._public_images = public_images

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The strategy's new model, taught by the clients' models."""
        replies = list(replies)
        averaged, metrics = self.strategy.aggregate_train(server_round, replies)
        if averaged is None:
            return None, metrics
        teacher = Ensemble(self._make_model(), list(trained_models(replies).values()))
        student = self._make_model()
        student.load_state_dict(averaged.to_torch_state_dict())
        told = Distillation(**self._distillation)
        loss = distil(student, teacher, self._public_images(), told)
        self.figures = {"distillation_loss": loss}
        arrays = {name: NumpyArray(one.numpy()) for name, one in student.state_dict().items()}
        return array_record(arrays), metrics

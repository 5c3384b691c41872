"""pfl-research's federated averaging on its simulated backend, in one process.

Settings: see `task.py`.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from round_clock import Record, RoundClock, Settings, report
from task import Task, load
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_models import MODELS, accuracy, first_weights


class Classifier(nn.Module):
    """A model with the methods that pfl asks for."""

    def __init__(self, name: str, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = MODELS[name]()
        self.model.load_state_dict(weights)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.model(images), labels)

    def metrics(self, *_: Tensor) -> dict[str, Any]:
        """Nothing is measured on clients."""
        return {}


class ShuffledDataset(Dataset):  # type: ignore[misc]
    """A client's samples, in a new order in each pass; pfl's own never changes it."""

    passes = 1

    def iter(self, batch_size: int | None) -> Iterator[list[Tensor]]:
        images, labels = self.raw_data
        for _ in range(self.passes):
            for batch in torch.randperm(len(labels)).split(batch_size or len(labels)):
                yield [images[batch], labels[batch]]


class Watch(TrainingProcessCallback):  # type: ignore[misc]
    """Looks at the clock when an iteration, as pfl calls a round, is over."""

    clock: RoundClock

    def on_train_begin(self, *, model: PyTorchModel) -> Metrics:
        self.clock = RoundClock()
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.clock.round_done()
        return False, Metrics()


def federated(task: Task) -> FederatedDataset:
    """The clients, who come in the order of the cohorts."""
    images, labels = torch.from_numpy(task.images), torch.from_numpy(task.labels)

    def dataset_of(client: int) -> ShuffledDataset:
        mine = torch.from_numpy(task.shares[client])
        dataset = ShuffledDataset((images[mine], labels[mine]), user_id=str(client))
        dataset.passes = task.passes(client)
        return dataset

    turns = chain.from_iterable(task.cohorts.tolist())
    return FederatedDataset(dataset_of, lambda: next(turns))


def train(settings: Settings) -> Record:
    torch.set_num_threads(1)  # like a client of ours: models so small gain little from more
    np.random.seed(settings["seed"])
    torch.manual_seed(settings["seed"])
    task, watch = load(settings), Watch()
    classifier = Classifier(settings["model"], first_weights(task))
    model = PyTorchModel(
        classifier, torch.optim.SGD, torch.optim.SGD(classifier.parameters(), lr=1.0)
    )
    rounds, cohort = task.cohorts.shape
    data = federated(task)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=rounds + 1,
            train_cohort_size=cohort,
            val_cohort_size=None,
        ),
        SimulatedBackend(data, data, [WeightByDatapoints()]),
        model,
        NNTrainHyperParams(
            local_num_epochs=None if task.steps else 1,
            local_num_steps=task.steps or None,
            local_learning_rate=task.learning_rate,
            local_batch_size=task.batch_size,
        ),
        NNEvalHyperParams(local_batch_size=None),
        [watch],
    )
    return watch.clock.record(accuracy(classifier.model, task))


if __name__ == "__main__":
    report(train)

"""The built-in clients' training for the cohort engine."""

from collections.abc import Sequence

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from covey.federation.apps.batched import STEPS, Weights, train_together
from covey.federation.apps.settings import Settings
from covey.federation.apps.task import partition, passes_of, tensors
from covey.federation.client_runner import Answer, Question
from covey.federation.flower_internals import array_record, metric_record, records_of
from covey.federation.generators import torch_seed
from covey.federation.numpy_array import NumpyArray, numbers_of


class BuiltInProgram:
    """All that train with the same global arrays are trained together."""

    def __init__(self, settings: Settings, num_clients: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._step = STEPS[settings.model]
        self._parts = partition(settings, num_clients)
        self._images, labels, _, _ = tensors(settings.data)
        self._hot = torch.nn.functional.one_hot(labels).to(self._images.dtype)
        self._generator = torch.Generator()

    def takes(self, question: Question) -> bool:
        """Training messages as the built-in server sends them."""
        message = question.message
        return (
            message.metadata.message_type == "train" and "arrays" in message.content.array_records
        )

    def answers(self, asked: Sequence[Question]) -> list[Answer]:
        """See `CohortProgram`."""
        groups: dict[int, list[int]] = {}
        for place, question in enumerate(asked):
            groups.setdefault(id(question.message.content["arrays"]), []).append(place)
        found: dict[int, Answer] = {}
        for places in groups.values():
            answers = self._trained([asked[place] for place in places])
            found.update(zip(places, answers, strict=True))
        return [found[place] for place in range(len(asked))]

    def _trained(self, asked: Sequence[Question]) -> list[Answer]:
        orders = [self._orders(question) for question in asked]
        counts = [sum(-(-len(order) // self._settings.batch_size) for order in o) for o in orders]
        longest_first = sorted(range(len(asked)), key=lambda place: -counts[place])
        weights = copies(asked[0].message.content.array_records["arrays"], len(asked))
        settings = self._settings
        losses = train_together(
            self._step,
            weights,
            [orders[place] for place in longest_first],
            self._images,
            self._hot,
            settings.batch_size,
            settings.steps,
            settings.learning_rate,
            proximal_mu(asked[0]),
        ).tolist()
        found: dict[int, Answer] = {}
        for row, place in enumerate(longest_first):
            found[place] = self._answer(asked[place], weights, row, losses[row])
        return [found[place] for place in range(len(asked))]

    def _orders(self, question: Question) -> list[Tensor]:
        """The client's passes over its samples: the same random numbers as its app would draw."""
        role = f"client {question.message.metadata.message_type}"
        seed = torch_seed(self._seed, role, question.round, question.client)
        self._generator.manual_seed(seed)
        return passes_of(self._parts[question.client], self._settings, self._generator)

    def _answer(self, asked: Question, weights: Weights, row: int, loss: float) -> Answer:
        arrays = {name: NumpyArray(tensor[row].numpy()) for name, tensor in weights.items()}
        size = len(self._parts[asked.client])
        metrics = metric_record({"loss": loss, "num-examples": size})
        return Answer(records_of(arrays=array_record(arrays), metrics=metrics), asked.state)


def proximal_mu(question: Question) -> float:
    """What FedProx's message asks for, 0 in others."""
    mu = question.message.content["config"].get("proximal-mu", 0.0)
    assert isinstance(mu, float)
    return mu


def copies(record: ArrayRecord, count: int) -> Weights:
    """As many copies of the arrays, in one tensor each: [count, ...]."""
    return {
        name: torch.from_numpy(numbers_of(array).copy()).expand(count, *array.shape).clone()
        for name, array in record.items()
    }

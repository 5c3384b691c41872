"""The built-in clients' training for the cohort engine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
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

WORTH_A_THREAD = 4_000_000
"""Parameters times samples of a step: with less, threads wait for one another's Python."""


class BuiltInProgram:
    """All that train with the same global arrays are trained together, a part of them in each of
    some threads.
    """

    def __init__(self, settings: Settings, num_clients: int, seed: int, threads: int = 1) -> None:
        self._settings, self._seed, self._threads = settings, seed, threads
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
        parts = self._parts_of(longest_first, asked[0].message.content.array_records["arrays"])
        found: dict[int, Answer] = {}
        with ThreadPoolExecutor(len(parts)) as threads:
            for answers in threads.map(partial(self._part_trained, asked, orders), parts):
                found.update(answers)
        return [found[place] for place in range(len(asked))]

    def _parts_of(self, places: Sequence[int], arrays: ArrayRecord) -> list[Sequence[int]]:
        """Who goes to which thread, each with its share of the long and of the short ones."""
        size = sum(int(np.prod(array.shape)) for array in arrays.values())
        worth = len(places) * size * self._settings.batch_size // WORTH_A_THREAD
        count = max(1, min(self._threads, worth, len(places)))
        return [places[first::count] for first in range(count)]

    def _part_trained(
        self, asked: Sequence[Question], orders: Sequence[Sequence[Tensor]], places: Sequence[int]
    ) -> dict[int, Answer]:
        """The answers to the questions at these places, of which the first has most to do."""
        first, settings = asked[places[0]], self._settings
        weights = copies(first.message.content.array_records["arrays"], len(places))
        losses = train_together(
            self._step,
            weights,
            [orders[place] for place in places],
            self._images,
            self._hot,
            settings.batch_size,
            settings.steps,
            settings.learning_rate,
            proximal_mu(first),
        ).tolist()
        return {
            place: self._answer(asked[place], weights, row, losses[row])
            for row, place in enumerate(places)
        }

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

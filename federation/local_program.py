"""Local training that is a pure function, for engine `cohort`."""

import traceback
from collections.abc import Hashable, Mapping, Sequence
from logging import WARNING
from typing import Any

import torch
from flwr.app import MetricRecord, RecordDict

from covey.federation.client_runner import Answer, Question, failure
from covey.federation.cohort_grid import in_groups
from covey.federation.flower_internals import FLOWER_LOGGER
from covey.federation.generators import save_generators, torch_seed
from covey.federation.local_client import Trained, WrongTraining, round_of
from covey.federation.local_together import StepFailed, Trainee, train_together
from covey.federation.local_training import Client, LocalTraining
from covey.federation.numpy_array import NUMPY, NumpyArray
from covey.federation.records import array_record
from covey.platform.errors import UserError


class LocalProgram:
    """See `CohortProgram`. `name` is what messages call the training.

    A failure in a client's minibatches is that client's, as in its ClientApp. A step is that of
    all: one that fails, or gives what it must not, ends in a UserError.
    """

    def __init__(
        self,
        local: LocalTraining,
        name: str,
        num_clients: int,
        seed: int,
        run_config: Mapping[str, Any],
    ) -> None:
        self._local, self._name = local, name
        self._num_clients, self._seed, self._run_config = num_clients, seed, run_config

    def takes(self, question: Question) -> bool:
        """Messages to train that hold one record of arrays, all of numbers."""
        message = question.message
        if message.metadata.message_type != "train" or not message.has_content():
            return False
        records = list(message.content.array_records.values())
        return len(records) == 1 and all(array.stype == NUMPY for array in records[0].values())

    def answers(self, asked: Sequence[Question]) -> list[Answer]:
        """Those that are told the same train together."""
        before = save_generators()
        try:
            answers = in_groups(asked, _told, self._trained)
        except WrongTraining as error:
            raise UserError(f"{self._name}: {error}") from error
        except StepFailed as error:
            story = "".join(traceback.format_exception(error.__cause__))
            FLOWER_LOGGER.log(WARNING, "%s failed:\n%s", self._name, story)
            raise UserError(f"{self._name}: {error}") from error
        if save_generators() != before:
            raise UserError(
                f"{self._name}: draws random numbers that are not from the generator that its "
                "minibatches are given; engine cohort could not give each client its own"
            )
        return answers

    def _trained(self, asked: Sequence[Question]) -> list[Answer]:
        told = round_of(asked[0].message, self._run_config)
        outcomes = train_together(self._local, [self._trainee(one) for one in asked], told)
        return [_answer(one, outcome) for one, outcome in zip(asked, outcomes, strict=True)]

    def _trainee(self, asked: Question) -> Trainee:
        role = f"client {asked.message.metadata.message_type}"
        seed = torch_seed(self._seed, role, asked.round, asked.client)
        client = Client(asked.client, self._num_clients)
        return Trainee(client, torch.Generator().manual_seed(seed))


def _told(question: Question) -> Hashable:
    content = question.message.content
    (arrays,) = content.array_records.values()
    return id(arrays), repr([sorted(record.items()) for record in content.config_records.values()])


def _answer(asked: Question, outcome: Trained | Exception) -> Answer:
    try:
        if isinstance(outcome, Exception):
            raise outcome
        arrays = {name: NumpyArray(array.numpy()) for name, array in outcome.arrays.items()}
        (name,) = asked.message.content.array_records
        metrics = MetricRecord(outcome.metrics)
        records = RecordDict({name: array_record(arrays), "metrics": metrics})
        return Answer(records, asked.state)
    except Exception as error:
        return failure(asked, error)

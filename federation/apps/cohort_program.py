"""The built-in clients' training for the cohort engine."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message

from covey.federation.apps import client_app
from covey.federation.apps.batched import (
    Beside,
    Plan,
    Step,
    Weights,
    logistic_step,
    mlp_step,
    plan_of,
    train_together,
)
from covey.federation.apps.batched_cnn import cnn_step
from covey.federation.apps.client_app import compress_as_told, reply_of, told_before
from covey.federation.apps.settings import Settings, compression_of, strategy_of
from covey.federation.apps.task import Trained, partition, passes_of, tensors
from covey.federation.client_runner import Answer, ClientRunner, Question
from covey.federation.cohort_grid import in_groups
from covey.federation.data import load
from covey.federation.generators import torch_seed
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.records import array_record, metric_record, records_of
from covey.federation.scaffold import CONTROL, correction


class BuiltInProgram:
    """All that train with the same global arrays are trained together, in torch's threads."""

    def __init__(self, settings: Settings, num_clients: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._runner = ClientRunner(client_app.app, num_clients, seed, vars(settings))
        self._step = step_of(settings)
        self._parts = partition(settings, num_clients)
        self._images, self._labels, _, _ = tensors(settings.data)
        self._generator = torch.Generator()
        compressed = compression_of(settings.compression) is not None
        self._plain = not compressed and not strategy_of(settings).needs_loss_before

    def takes(self, question: Question) -> bool:
        """Training messages as the built-in server sends them."""
        message = question.message
        return message.metadata.message_type == "train" and "arrays" in message.content

    def answers(self, asked: Sequence[Question]) -> list[Answer]:
        """See `CohortProgram`."""
        return in_groups(asked, lambda one: id(one.message.content["arrays"]), self._trained)

    def _trained(self, asked: Sequence[Question]) -> list[Answer]:
        plans = [self._plan(question) for question in asked]
        longest_first = sorted(range(len(asked)), key=lambda place: -len(plans[place].sizes))
        weights = copies(asked[0].message.content.array_records["arrays"], len(asked))
        losses = train_together(
            self._step,
            weights,
            [plans[place] for place in longest_first],
            self._images,
            self._labels,
            self._settings.learning_rate,
            self._beside([asked[place] for place in longest_first]),
        ).tolist()
        found: dict[int, Answer] = {}
        blocks = {name: tensor.numpy() for name, tensor in weights.items()}
        for row, place in enumerate(longest_first):
            arrays = array_record({name: NumpyArray(block[row]) for name, block in blocks.items()})
            trained = Trained(losses[row], len(plans[place].sizes))
            found[place] = self._answer(asked[place], arrays, trained)
        return [found[place] for place in range(len(asked))]

    def _plan(self, question: Question) -> Plan:
        """The client's minibatches: the same random numbers as its app would draw."""
        role = f"client {question.message.metadata.message_type}"
        seed = torch_seed(self._seed, role, question.round, question.client)
        self._generator.manual_seed(seed)
        settings = self._settings
        passes = passes_of(self._parts[question.client], settings, self._generator)
        return plan_of(passes, settings.batch_size, settings.steps)

    def _beside(self, asked: Sequence[Question]) -> Beside:
        """What the strategy's messages ask for, as the app's `_adjust`."""
        content = asked[0].message.content
        if CONTROL not in content:
            mu = content["config"].get("proximal-mu", 0.0)
            assert isinstance(mu, float)
            return Beside(mu)
        each = [correction(one.message, self._runner.context(one)) for one in asked]
        return Beside(
            corrections={
                name: torch.from_numpy(np.stack([arrays[name] for arrays in each]))
                for name in each[0]
            }
        )

    def _answer(self, asked: Question, arrays: ArrayRecord, trained: Trained) -> Answer:
        mine = self._parts[asked.client]
        if self._plain and CONTROL not in asked.message.content:
            metrics = metric_record({"loss": trained.loss, "num-examples": len(mine)})
            return Answer(records_of(arrays=arrays, metrics=metrics), asked.state)

        def already_trained(message: Message, context: Context) -> Message:
            metrics = told_before(message, mine, self._settings)
            return reply_of(message, context, metrics, arrays, trained)

        def app(message: Message, context: Context) -> Message:
            return compress_as_told(message, context, already_trained)

        return replace(self._runner, client_app=app).answer(asked)


def step_of(settings: Settings) -> Step:
    """The step of the job's model."""
    if settings.model == "cnn":
        image = load(settings.data).spec.image
        assert image is not None  # the job file was checked
        return cnn_step(image)
    return {"logistic": logistic_step, "mlp": mlp_step}[settings.model]


def copies(record: ArrayRecord, count: int) -> Weights:
    """As many copies of the arrays, in one tensor each: [count, ...]. In the models' dtype: not
    every strategy sends what it got.
    """
    return {
        name: torch.from_numpy(numbers_of(array).astype(np.float32))
        .expand(count, *array.shape)
        .clone()
        for name, array in record.items()
    }

"""The built-in clients' training for the cohort engine."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from flwr.app import Context, Message

from covey.federation.apps import client_app
from covey.federation.apps.client_app import (
    compress_as_told,
    reply_of,
    told_before,
    told_of,
)
from covey.federation.apps.guide import Guide, guide_of
from covey.federation.apps.local_sgd import Trained, Work, beside_of, train, work_of
from covey.federation.apps.own_layers import own_layers
from covey.federation.apps.settings import Settings, compression_of, strategy_of
from covey.federation.apps.task import partition
from covey.federation.client_runner import Answer, ClientRunner, Question
from covey.federation.cohort_grid import in_groups
from covey.federation.generators import preserved, torch_seed
from covey.federation.records import metric_record, records_of
from covey.federation.scaffold import CONTROL


class BuiltInProgram:
    """All that train with the same global arrays are trained together, in torch's threads."""

    def __init__(self, settings: Settings, num_clients: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._runner = ClientRunner(client_app.app, num_clients, seed, vars(settings))
        self._parts = partition(settings, num_clients)
        self._generator = torch.Generator()
        compressed = compression_of(settings.compression) is not None
        strategy = strategy_of(settings)
        self._plain = not (compressed or strategy.needs_loss_before or strategy.share != "all")

    def takes(self, question: Question) -> bool:
        """Training messages as the built-in server sends them."""
        message = question.message
        return message.metadata.message_type == "train" and "arrays" in message.content

    def answers(self, asked: Sequence[Question]) -> list[Answer]:
        """See `CohortProgram`."""
        return in_groups(asked, lambda one: id(one.message.content["arrays"]), self._trained)

    def _trained(self, asked: Sequence[Question]) -> list[Answer]:
        content = asked[0].message.content
        received, guide = content.array_records["arrays"], guide_of(content)
        contexts = map(self._runner.context, asked)
        beside = beside_of([one.message for one in asked], contexts)
        works = [self._work(one, guide) for one in asked]
        own = [own_layers(self._settings, one.state) for one in asked]
        trained = train(self._settings, received, works, beside, guide, own)
        return [self._answer(*each) for each in zip(asked, works, trained, strict=True)]

    def _work(self, question: Question, guide: Guide | None) -> Work:
        """The client's: the same random numbers as its app would draw."""
        role = f"client {question.message.metadata.message_type}"
        seed = torch_seed(self._seed, role, question.round, question.client)
        self._generator.manual_seed(seed)
        mine = self._parts[question.client]
        return work_of(mine, self._settings, question.message.content, guide, self._generator)

    def _answer(self, asked: Question, work: Work, trained: Trained) -> Answer:
        mine = self._parts[asked.client]
        if self._plain and CONTROL not in asked.message.content:
            told = {**told_of(work), **trained.told}
            metrics = metric_record({"num-examples": len(mine), **told, "loss": trained.loss})
            return Answer(records_of(arrays=trained.arrays, metrics=metrics), asked.state)

        def already_trained(message: Message, context: Context) -> Message:
            metrics = told_before(message, context, mine) | told_of(work)
            return reply_of(message, context, metrics, trained)

        def app(message: Message, context: Context) -> Message:
            return compress_as_told(message, context, already_trained)

        with preserved():
            return replace(self._runner, client_app=app).answer(asked)

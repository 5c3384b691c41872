"""A client's local training as a pure function of tensors: what an app gives to be batched.

An app folder names such an object in its `pyproject.toml`, `[tool.covey] cohort =
"package.module:object"`: then engine `cohort` trains all clients of a round together
(`local_program.py`). `local_client.client_app(object)` makes the ClientApp of it that every other
engine runs, so that all do the same; one that is written by hand must do it, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""The arrays of a model, by name."""

Minibatch = Sequence[Tensor]
"""The tensors of some samples, as images and labels."""


@dataclass(frozen=True)
class Client:
    """Who trains: number `partition_id`, from 0, of `num_partitions`."""

    partition_id: int
    num_partitions: int


@dataclass(frozen=True)
class Round:
    """What all clients of a round are told. Nothing in it may be changed."""

    config: Mapping[str, Any]
    """The server's message: `server-round`, and what its strategy puts there."""
    run_config: Mapping[str, Any]
    """The app's own."""
    received: Parameters
    """The global model, where the training begins. Floats are of torch's default dtype, whatever
    the strategy makes of them.
    """


class LocalTraining(Protocol):
    """The training of one client. The loop around it is Covey's:

        parameters = told.received
        for minibatch in minibatches(...): parameters, metrics = step(parameters, minibatch, told)

    What a step needs besides, as momentum, comes from a third method, if the object has one:
    `optimizer_state(received) -> dict` of further tensors, under names of their own. A step takes
    them and gives them back among the parameters; they begin anew in each round and are not sent.
    """

    def minibatches(
        self, client: Client, told: Round, generator: torch.Generator
    ) -> tuple[Iterable[Minibatch], Mapping[str, int | float]]:
        """The client's minibatches in order, and what its reply says beside the means of the steps'
        metrics: at least `num-examples`, for most strategies.

        They are asked for one at a time, so they may be drawn on the way, but only from
        `generator`: then they are the same whoever else trains.
        """

    def step(
        self, parameters: Parameters, minibatch: Minibatch, told: Round
    ) -> tuple[Parameters, Mapping[str, Tensor | float]]:
        """The parameters after a step, all of them and in the shapes in which they came, and single
        numbers that tell of it.

        Nothing is drawn here and nothing changed in place; gradients come from `torch.func`. With
        engine `cohort` it runs inside `torch.func.vmap`, once for all clients.
        """

"""What the built-in apps' clients do to train, whether one of them alone or a cohort together."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message

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
from covey.federation.apps.settings import Settings
from covey.federation.apps.task import tensors
from covey.federation.data import load
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.records import array_record
from covey.federation.scaffold import CONTROL, correction

STEPS: dict[str, Step] = {"logistic": logistic_step, "mlp": mlp_step}


class Trained(NamedTuple):
    """The model, the mean loss of the steps, and their number."""

    arrays: ArrayRecord
    loss: float
    steps: int


def train(
    settings: Settings, received: ArrayRecord, plans: Sequence[Plan], beside: Beside
) -> list[Trained]:
    """Plain stochastic gradient descent of each client, on the minibatches of its plan."""
    order = sorted(range(len(plans)), key=lambda place: -len(plans[place].sizes))
    weights = copies(received, len(plans))
    images, labels, _, _ = tensors(settings.data)
    losses = train_together(
        step_of(settings),
        weights,
        [plans[place] for place in order],
        images,
        labels,
        settings.learning_rate,
        beside.of(order),
    ).tolist()
    blocks = {name: tensor.numpy() for name, tensor in weights.items()}
    found: dict[int, Trained] = {}
    for row, place in enumerate(order):
        arrays = array_record({name: NumpyArray(block[row]) for name, block in blocks.items()})
        found[place] = Trained(arrays, losses[row], len(plans[place].sizes))
    return [found[place] for place in range(len(plans))]


def minibatches(
    mine: torch.Tensor, settings: Settings, generator: torch.Generator | None = None
) -> Plan:
    """A client's, of passes over its samples `mine` that hold all epochs or steps, each in a new
    order.
    """
    count = settings.epochs or -(-settings.steps // -(-len(mine) // settings.batch_size))
    passes = [mine[torch.randperm(len(mine), generator=generator)] for _ in range(count)]
    return plan_of(passes, settings.batch_size, settings.steps)


def beside_of(messages: Sequence[Message], contexts: Iterable[Context]) -> Beside:
    """What the strategy's messages ask for beside the gradients."""
    content = messages[0].content
    if CONTROL not in content:
        mu = content.config_records["config"].get("proximal-mu", 0.0)
        return Beside(mu if isinstance(mu, float) else 0.0)
    each = [correction(*one) for one in zip(messages, contexts, strict=True)]
    return Beside(
        corrections={
            name: torch.from_numpy(np.stack([arrays[name] for arrays in each])) for name in each[0]
        }
    )


def step_of(settings: Settings) -> Step:
    """The step of the job's model."""
    if settings.model == "cnn":
        image = load(settings.data).spec.image
        assert image is not None  # the job file was checked
        return cnn_step(image)
    return STEPS[settings.model]


def copies(record: ArrayRecord, count: int) -> Weights:
    """As many copies of the arrays, in one tensor each: [count, ...]. In the models' dtype: not
    every strategy sends what it got.
    """
    weights: Weights = {}
    for name, array in record.items():
        block = np.empty((count, *array.shape), np.float32)
        block[...] = numbers_of(array)
        weights[name] = torch.from_numpy(block)
    return weights

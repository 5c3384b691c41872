"""What the built-in apps' clients do to train, whether one of them alone or a cohort together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, RecordDict

from covey.federation.apps.batched import (
    Beside,
    Descent,
    Step,
    Weights,
    logistic_step,
    mlp_step,
    train_together,
)
from covey.federation.apps.batched_cnn import cnn_step
from covey.federation.apps.batched_strided import strided_step
from covey.federation.apps.guide import Draws, Guide
from covey.federation.apps.label_logits import hints_of, logits_told
from covey.federation.apps.minibatches import Plan, plan_of
from covey.federation.apps.settings import Settings
from covey.federation.apps.task import tensors
from covey.federation.data import load
from covey.federation.feddistill import LOGITS
from covey.federation.fedgen import COUNTS
from covey.federation.numpy_array import NumpyArray, numbers_of
from covey.federation.records import array_record
from covey.federation.running import has_gradient
from covey.federation.scaffold import CONTROL, correction

STEPS: dict[str, Step] = {"logistic": logistic_step, "mlp": mlp_step}
OF_IMAGES = {"cnn": cnn_step, "strided-cnn": strided_step}


class Work(NamedTuple):
    """A client's minibatches, what it has drawn for a generator of latents, and how often it trains
    on each label, if the server asks for it.
    """

    plan: Plan
    draws: Draws | None = None
    counts: list[float] | None = None


class Trained(NamedTuple):
    """What is sent of the model and what the client keeps of it, if anything; the mean loss of the
    steps, and their number; what the reply says beside, if the strategy asks for more.
    """

    arrays: ArrayRecord
    loss: float
    steps: int
    own: ArrayRecord | None = None
    told: Mapping[str, list[float]] = {}


def train(
    settings: Settings,
    received: ArrayRecord,
    works: Sequence[Work],
    beside: Beside,
    guide: Guide | None = None,
    own: Sequence[ArrayRecord | None] = (),
) -> list[Trained]:
    """Plain stochastic gradient descent of each client, on the minibatches of its plan. `own`: what
    each has beside what was received, if all is not shared.
    """
    order = sorted(range(len(works)), key=lambda place: -len(works[place].plan.sizes))
    plans = [works[place].plan for place in order]
    beside = beside.of(order)
    draws = [drawn for place in order if (drawn := works[place].draws) is not None]
    if guide is not None:
        beside = replace(beside, hints=partial(guide.hints, draws))
    if beside.mu:
        beside = replace(beside, pulled=tuple(filter(has_gradient, received)))
    weights = copies(received, len(works))
    mine = [layers for place in order if own and (layers := own[place]) is not None]
    weights |= stacked(mine) if mine else {}
    images, labels, _, _ = tensors(settings.data)
    way, classes = Descent(settings.learning_rate), load(settings.data).classes
    losses, tallies = train_together(step_of(settings), weights, plans, images, labels, way, beside)
    blocks = {name: tensor.numpy() for name, tensor in weights.items()}
    found: dict[int, Trained] = {}
    for row, (place, loss) in enumerate(zip(order, losses.tolist(), strict=True)):
        arrays = {name: NumpyArray(block[row]) for name, block in blocks.items()}
        kept = {name: arrays.pop(name) for name in mine[row]} if mine else None
        found[place] = Trained(
            array_record(arrays),
            loss,
            len(plans[row].sizes),
            None if kept is None else array_record(kept),
            {} if tallies is None else logits_told(tallies[row], _met(plans[row], labels, classes)),
        )
    return [found[place] for place in range(len(works))]


def work_of(
    mine: torch.Tensor,
    settings: Settings,
    content: RecordDict,
    guide: Guide | None,
    generator: torch.Generator | None = None,
) -> Work:
    """A client's answer to a message that holds this, in passes over its samples `mine` that hold
    all epochs or steps. Drawn from a generator, None for torch's own.
    """
    count = settings.epochs or -(-settings.steps // -(-len(mine) // settings.batch_size))
    passes = _passes(mine, count, settings, generator)
    plan = plan_of(passes, settings.batch_size, settings.steps)
    draws = guide and guide.draws(plan, settings.batch_size, generator)
    noise = content.config_records["config"].get(COUNTS)
    if not isinstance(noise, float):
        return Work(plan, draws)
    _, labels, _, _ = tensors(settings.data)
    counts = _met(plan, labels, load(settings.data).classes).double()
    if noise > 0:
        counts += laplace(len(counts), noise, generator)
    return Work(plan, draws, counts.tolist())


def _passes(
    mine: torch.Tensor, count: int, settings: Settings, generator: torch.Generator | None
) -> list[torch.Tensor]:
    """So many passes over a client's samples: each in a new order, or all by label, from the same
    random place on.
    """
    if settings.order == "shuffled":
        return [mine[torch.randperm(len(mine), generator=generator)] for _ in range(count)]
    _, labels, _, _ = tensors(settings.data)
    lying = mine[torch.argsort(labels[mine], stable=True)]
    first = torch.randint(len(mine), (), generator=generator)
    return [lying.roll(-int(first))] * count


def _met(plan: Plan, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """How often each label is met in the minibatches: [classes]."""
    return torch.bincount(labels[plan.order], minlength=classes)


def laplace(count: int, scale: float, generator: torch.Generator | None) -> torch.Tensor:
    """Numbers of the Laplace distribution around 0."""
    uniform = torch.rand(count, dtype=torch.float64, generator=generator) - 0.5
    return -scale * uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.5 - 1e-12))


def beside_of(messages: Sequence[Message], contexts: Iterable[Context]) -> Beside:
    """What the strategy's messages ask for beside the gradients."""
    content = messages[0].content
    config = content.config_records["config"]
    mu = config.get("proximal-mu", 0.0)
    beside = Beside(
        mu if isinstance(mu, float) else 0.0, hints=hints_of(content), tallies=LOGITS in config
    )
    if CONTROL not in content:
        return beside
    each = [correction(*one) for one in zip(messages, contexts, strict=True)]
    names = each[0]
    corrections = {
        name: torch.from_numpy(np.stack([arrays[name] for arrays in each])) for name in names
    }
    return replace(beside, corrections=corrections)


def step_of(settings: Settings) -> Step:
    """The step of the job's model."""
    if settings.model in OF_IMAGES:
        image = load(settings.data).spec.image
        assert image is not None  # the job file was checked
        return OF_IMAGES[settings.model](image)
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


def stacked(records: Sequence[ArrayRecord]) -> Weights:
    """Each client's arrays, in one tensor each: [clients, ...]."""
    return {
        name: torch.from_numpy(np.stack([numbers_of(record[name]) for record in records]))
        for name in records[0]
    }

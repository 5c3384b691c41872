"""Federated averaging by hand, as fast as PyTorch allows on one core: what an engine can reach.

A cohort's models are one tensor each [C, out, in] that batched matrix products change in place;
gradients are derived by hand; nothing is allocated in a step, and the average is one product.
Every client has the same number of steps.

Settings: see `task.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from round_clock import Record, RoundClock, Settings, report
from task import Task, load
from torch import Tensor
from torch_models import MODELS, accuracy, first_weights

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """Which samples a round's steps take: indices [S, C * B]. `rate` is the learning rate over the
    size of the minibatch, [S, C, B, 1], 0 where there is no sample.
    """

    indices: Tensor
    rate: Tensor


def plan(task: Task, cohort: list[int], shares: list[Tensor]) -> Plan:
    """Each client's samples in a new order for each pass; the last batch of one may be smaller."""
    size = task.batch_size
    counts = [task.passes(client) * -(-len(shares[client]) // size) for client in cohort]
    steps = task.steps or counts[0]
    indices = torch.zeros(len(cohort), max(counts), size, dtype=torch.int64)
    rate = torch.zeros(len(cohort), max(counts), size)
    for place, client in enumerate(cohort):
        mine = shares[client]
        batches = -(-len(mine) // size)
        short = len(mine) - (batches - 1) * size
        for first in range(0, counts[place], batches):
            rows = slice(first, first + batches)
            indices[place, rows].view(-1)[: len(mine)] = mine[torch.randperm(len(mine))]
            rate[place, rows] = task.learning_rate / size
            rate[place, first + batches - 1, :short] = task.learning_rate / short
            rate[place, first + batches - 1, short:] = 0.0
    return Plan(
        indices[:, :steps].transpose(0, 1).reshape(steps, -1),
        rate[:, :steps].transpose(0, 1).unsqueeze(3).contiguous(),
    )


def even_plan(task: Task, cohort: list[int], shares: Tensor) -> Plan:
    """The same in a handful of calls, for one pass over shares [N, n] of whole minibatches."""
    order = torch.rand(len(cohort), shares.shape[1]).argsort(1)
    indices = shares[cohort].gather(1, order).view(len(cohort), -1, task.batch_size)
    steps = indices.shape[1]
    rate = torch.full((1, 1, 1, 1), task.learning_rate / task.batch_size)
    return Plan(indices.transpose(0, 1).reshape(steps, -1), rate.expand(steps, 1, 1, 1))


class Logistic:
    """Steps of multinomial logistic regression for C clients with minibatches of B."""

    def __init__(self, weights: Weights, count: int, size: int) -> None:
        self._weight, self._bias = weights["output.weight"], weights["output.bias"].unsqueeze(1)
        self._logits = torch.empty(count, size, 10)

    def step(self, images: Tensor, hot: Tensor, rate: Tensor) -> None:
        """images [C, B, 784], hot [C, B, 10]: one-hot labels; rate [C, B, 1]."""
        weight, bias = self._weight, self._bias
        torch.baddbmm(bias, images, weight.transpose(1, 2), out=self._logits)
        errors = torch.softmax(self._logits, 2).sub_(hot).mul_(rate)
        weight.baddbmm_(errors.transpose(1, 2), images, alpha=-1)
        bias.sub_(errors.sum(1, keepdim=True))


class Mlp:
    """The same for one hidden layer of 128 rectified units."""

    def __init__(self, weights: Weights, count: int, size: int) -> None:
        self._hidden = weights["hidden.weight"]
        self._hidden_bias = weights["hidden.bias"].unsqueeze(1)
        self._output, self._bias = weights["output.weight"], weights["output.bias"].unsqueeze(1)
        self._units, self._behind = torch.empty(2, count, size, 128).unbind()
        self._logits = torch.empty(count, size, 10)

    def step(self, images: Tensor, hot: Tensor, rate: Tensor) -> None:
        """See `Logistic.step`."""
        units, behind, output = self._units, self._behind, self._output
        torch.baddbmm(self._hidden_bias, images, self._hidden.transpose(1, 2), out=units).relu_()
        torch.baddbmm(self._bias, units, output.transpose(1, 2), out=self._logits)
        errors = torch.softmax(self._logits, 2).sub_(hot).mul_(rate)
        torch.bmm(errors, output, out=behind)
        torch.ops.aten.threshold_backward.grad_input(behind, units, 0, grad_input=behind)
        output.baddbmm_(errors.transpose(1, 2), units, alpha=-1)
        self._bias.sub_(errors.sum(1, keepdim=True))
        self._hidden.baddbmm_(behind.transpose(1, 2), images, alpha=-1)
        self._hidden_bias.sub_(behind.sum(1, keepdim=True))


STEPS: dict[str, Callable[[Weights, int, int], Logistic | Mlp]] = {"logistic": Logistic, "mlp": Mlp}


class Cohort:
    """C clients' models, and all that their steps need."""

    def __init__(self, task: Task, model: str) -> None:
        self._task = task
        self._images = torch.from_numpy(task.images)
        self._hot = torch.eye(10)[torch.from_numpy(task.labels)]
        self._shares = [torch.from_numpy(share) for share in task.shares]
        count, size = task.cohorts.shape[1], task.batch_size
        first = first_weights(task)
        self._models = {
            name: tensor.new_empty(count, *tensor.shape) for name, tensor in first.items()
        }
        self._taken = torch.empty(count * size, 784), torch.empty(count * size, 10)
        self._shape = (count, size, -1)
        self._steps = STEPS[model](self._models, count, size)
        lengths = {len(share) for share in self._shares}
        self._even = (
            torch.stack(self._shares)
            if len(lengths) == 1 and lengths.pop() % size == 0 and task.epochs == 1
            else None
        )

    def train(self, weights: Weights, cohort: list[int]) -> Weights:
        """One round: local SGD, then the average by numbers of samples."""
        if self._even is not None:
            round_plan = even_plan(self._task, cohort, self._even)
        else:
            round_plan = plan(self._task, cohort, self._shares)
        for name, tensor in self._models.items():
            tensor.copy_(weights[name])
        images, hot = self._taken
        for indices, rate in zip(round_plan.indices, round_plan.rate, strict=True):
            torch.index_select(self._images, 0, indices, out=images)
            torch.index_select(self._hot, 0, indices, out=hot)
            self._steps.step(images.view(self._shape), hot.view(self._shape), rate)
        sizes = torch.tensor([float(len(self._shares[client])) for client in cohort])
        parts = sizes / sizes.sum()
        return {
            name: (parts @ tensor.view(len(cohort), -1)).view(weights[name].shape)
            for name, tensor in self._models.items()
        }


def train(settings: Settings) -> Record:
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    task = load(settings)
    cohort, weights = Cohort(task, settings["model"]), first_weights(task)
    clock = RoundClock()
    for clients in task.cohorts.tolist():
        weights = cohort.train(weights, clients)
        clock.round_done()
    model = MODELS[settings["model"]]()
    model.load_state_dict(weights)
    return clock.record(accuracy(model, task))


if __name__ == "__main__":
    report(train)

"""Federated averaging as a plain loop in PyTorch: one client after the other, autograd and SGD.

Settings: see `task.py`.
"""

import torch
from round_clock import Record, RoundClock, Settings, report
from task import Task, load
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_models import MODELS, accuracy, first_weights

State = dict[str, Tensor]


def train_client(model: nn.Module, task: Task, client: int, images: Tensor, labels: Tensor) -> None:
    """Local SGD on the client's samples, each pass in a new order."""
    optimizer = torch.optim.SGD(model.parameters(), lr=task.learning_rate)
    mine = torch.from_numpy(task.shares[client])
    steps = 0
    for _ in range(task.passes(client)):
        for batch in mine[torch.randperm(len(mine))].split(task.batch_size):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            steps += 1
            if steps == task.steps:
                return


def average(states: list[State], sizes: list[int]) -> State:
    """Weighted by the clients' numbers of samples (McMahan et al. 2017, algorithm 1)."""
    total = sum(sizes)
    return {
        name: sum(
            (state[name] * (size / total) for state, size in zip(states, sizes, strict=True)),
            torch.zeros_like(states[0][name]),
        )
        for name in states[0]
    }


def train(settings: Settings) -> Record:
    torch.set_num_threads(1)  # like a client of ours: models so small gain little from more
    torch.manual_seed(settings["seed"])
    task = load(settings)
    images, labels = torch.from_numpy(task.images), torch.from_numpy(task.labels)
    model, weights = MODELS[settings["model"]](), first_weights(task)
    clock = RoundClock()
    for cohort in task.cohorts.tolist():
        states = []
        for client in cohort:
            model.load_state_dict(weights)
            train_client(model, task, client, images, labels)
            states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        weights = average(states, [len(task.shares[client]) for client in cohort])
        clock.round_done()
    model.load_state_dict(weights)
    return clock.record(accuracy(model, task))


if __name__ == "__main__":
    report(train)

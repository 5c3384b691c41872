"""Model, data and local training, with nothing in it that knows where it runs."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, grad_and_value
from torch.nn.functional import cross_entropy

MOMENTUM = 0.5


class Net(nn.Module):
    """A small network for 8x8 images."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 24)
        self.output = nn.Linear(24, 10)

    def forward(self, images):
        return self.output(torch.tanh(self.hidden(images)))


net = Net()  # for its forward function: the numbers in it are never used


@cache
def digits():
    bunch = load_digits()
    return torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target)


def share(client):
    """Client 0 has 60 samples, each of the others 25 more than the one before."""
    images, labels = digits()
    number = client.partition_id
    first = 60 * number + 25 * number * (number - 1) // 2
    mine = slice(first, first + 60 + 25 * number)
    return images[mine], labels[mine]


class Local:
    """Gradient descent with momentum, and FedProx's term where its messages ask for it."""

    def minibatches(self, client, told, generator):
        images, labels = share(client)

        def drawn():
            for _ in range(told.run_config["local-epochs"]):
                order = torch.randperm(len(labels), generator=generator)
                for part in order.split(told.run_config["batch-size"]):
                    yield images[part], labels[part]

        return drawn(), {"num-examples": len(labels)}

    def optimizer_state(self, received):
        return {f"velocity of {name}": torch.zeros_like(array) for name, array in received.items()}

    def step(self, parameters, minibatch, told):
        images, labels = minibatch
        mu = told.config.get("proximal-mu", 0.0)

        def loss(weights):
            away = sum((weights[name] - told.received[name]).square().sum() for name in weights)
            logits = functional_call(net, weights, (images,))
            return cross_entropy(logits, labels) + mu / 2 * away

        weights = {name: parameters[name] for name in told.received}
        gradients, value = grad_and_value(loss)(weights)
        new = {}
        for name, gradient in gradients.items():
            velocity = MOMENTUM * parameters[f"velocity of {name}"] + gradient
            new[f"velocity of {name}"] = velocity
            new[name] = weights[name] - told.config["lr"] * velocity
        return new, {"loss": value}


local = Local()

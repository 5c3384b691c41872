"""The federated run equals slow, obvious loops that know nothing of Flower or of our Grid."""

import numpy as np
import torch
from safetensors.numpy import load as load_arrays

from covey.federation.data import load
from covey.federation.partition import dirichlet
from covey.platform.seeds import derive_words

DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.3}}
SEED, CLIENTS = 5, 6


def parts():
    return dirichlet(load("digits").train_labels, CLIENTS, 0.3, SEED, min_size=1)


def test_full_batches_equal_gradient_steps_in_numpy(train):
    local = {"steps": 1, "batch_size": 2000, "learning_rate": 0.1}
    start = train("logistic", clients=CLIENTS, rounds=1, federated={"data": DATA, "local": local})
    run = train("logistic", clients=CLIENTS, rounds=9, federated={"data": DATA, "local": local})
    data = load("digits")
    arrays = load_arrays(start.model)
    weight = arrays["output.weight"].astype(np.float64)
    bias = arrays["output.bias"].astype(np.float64)

    for _ in range(8):
        weights, biases, sizes = [], [], []
        for mine in parts():
            images = data.train_images[mine].astype(np.float64)
            logits = images @ weight.T + bias
            exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = exponents / exponents.sum(axis=1, keepdims=True)
            error[np.arange(len(mine)), data.train_labels[mine]] -= 1
            weights.append(weight - 0.1 * error.T @ images / len(mine))
            biases.append(bias - 0.1 * error.mean(axis=0))
            sizes.append(len(mine))
        weight = sum(size * w for size, w in zip(sizes, weights, strict=True)) / sum(sizes)
        bias = sum(size * b for size, b in zip(sizes, biases, strict=True)) / sum(sizes)

    final = load_arrays(run.model)
    assert np.abs(final["output.weight"] - weight).max() < 1e-6
    assert np.abs(final["output.bias"] - bias).max() < 1e-6


def test_mini_batches_equal_a_plain_torch_loop(train):
    local = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05}
    section = {"data": DATA, "local": local}
    first = load_arrays(train("mlp", clients=CLIENTS, rounds=1, federated=section).model)
    final = load_arrays(train("mlp", clients=CLIENTS, rounds=3, federated=section).model)
    data = load("digits")
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    names = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    average = [torch.tensor(first[name]) for name in names]

    for number in (2, 3):
        total = [torch.zeros_like(array) for array in average]
        for client, mine in enumerate(parts()):
            words = derive_words(SEED, "client train", number, client)
            torch.manual_seed(words[3] << 32 | words[4])
            torch.nn.utils.vector_to_parameters(
                torch.cat([array.flatten() for array in average]), model.parameters()
            )
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            for _ in range(2):
                order = mine[torch.randperm(len(mine)).numpy()]
                for begin in range(0, len(order), 16):
                    batch = order[begin : begin + 16]
                    optimizer.zero_grad()
                    outputs = model(torch.tensor(data.train_images[batch]))
                    target = torch.tensor(data.train_labels[batch])
                    torch.nn.functional.cross_entropy(outputs, target).backward()
                    optimizer.step()
            for array, parameter in zip(total, model.parameters(), strict=True):
                array += len(mine) * parameter.detach()
        average = [array / len(data.train_labels) for array in total]

    for name, array in zip(names, average, strict=True):
        assert np.abs(final[name] - array.numpy()).max() < 1e-6, name

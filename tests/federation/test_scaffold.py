"""SCAFFOLD against gradient descent, and against the paper's algorithm written out."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from torch.nn.functional import cross_entropy

from covey.federation.apps.models import make_model
from covey.federation.data import load
from covey.federation.generators import preserved, seed_all
from covey.federation.partition import dirichlet
from covey.federation.scaffold import STEPS, _number
from covey.federation.snapshot import _unpack
from covey.platform.runs.folder import RunFolder

DATA = {"name": "digits", "partition": {"kind": "dirichlet", "alpha": 0.3}}
SEED, CLIENTS, LR = 5, 6, 0.1


@pytest.fixture
def final(train):
    def run(rounds, steps, cohort=CLIENTS, **strategy):
        local = {"steps": steps, "batch_size": 2000, "learning_rate": LR}
        section = {"data": DATA, "local": local, "cohort": cohort, "strategy": strategy}
        return train("logistic", clients=CLIENTS, rounds=rounds, federated=section)

    return run


def model_of(run):
    arrays = load_arrays(run.model)
    return torch.tensor(arrays["output.weight"]), torch.tensor(arrays["output.bias"])


def gradient(model, mine):
    data = load("digits")
    images, labels = data.train_images[mine], data.train_labels[mine]
    weight, bias = (array.double().requires_grad_() for array in model)
    logits = torch.tensor(images).double() @ weight.T + bias
    return torch.autograd.grad(cross_entropy(logits, torch.tensor(labels)), (weight, bias))


def parts():
    return dirichlet(load("digits").train_labels, CLIENTS, 0.3, SEED, min_size=1)


def test_one_full_batch_step_with_everybody_is_gradient_descent_on_the_pooled_data(final):
    model = model_of(final(1, 1, name="scaffold"))
    everything = np.arange(len(load("digits").train_labels))
    for _ in range(9):
        step = gradient(model, everything)
        model = [array.double() - LR * change for array, change in zip(model, step, strict=True)]
    for ours, expected in zip(model_of(final(10, 1, name="scaffold")), model, strict=True):
        assert (ours - expected).abs().max() < 1e-6


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_several_steps_equal_the_paper_written_out(final, rate):
    """Algorithm 1 with option II, clients weighted by their samples."""
    whole = final(4, 4, name="scaffold", server_learning_rate=rate)
    sizes = [len(mine) for mine in parts()]
    share = [size / sum(sizes) for size in sizes]
    model = initial()
    own = [[torch.zeros_like(x) for x in model] for _ in sizes]
    for _ in range(4):
        control = [sum(p * c[k] for p, c in zip(share, own, strict=True)) for k in range(2)]
        ends = []
        for client, mine in enumerate(parts()):
            local = model
            for _ in range(4):
                step = gradient(local, mine)
                local = [
                    y - LR * (g - c_i + c)
                    for y, g, c_i, c in zip(local, step, own[client], control, strict=True)
                ]
            own[client] = [
                c_i - c + (x - y) / (4 * LR)
                for c_i, c, x, y in zip(own[client], control, model, local, strict=True)
            ]
            ends.append(local)
        average = [sum(p * y[k] for p, y in zip(share, ends, strict=True)) for k in range(2)]
        model = [x + rate * (mean - x) for x, mean in zip(model, average, strict=True)]
    for ours, expected in zip(model_of(whole), model, strict=True):
        assert (ours - expected).abs().max() < 1e-5


def initial():
    """The job's first model: drawn by the server from the job's seed."""
    with preserved():
        seed_all(SEED, "server")
        model = make_model("logistic", 64, 10)
    return [parameter.detach().double() for parameter in model.parameters()]


def test_with_few_clients_a_round_it_still_nears_the_optimum_of_all(final):
    """FedAvg with these long local runs stops elsewhere; SCAFFOLD goes on."""
    everything = np.arange(len(load("digits").train_labels))
    norms = {}
    for name in ("fedavg", "scaffold"):
        model = model_of(final(40, 10, cohort=3, name=name))
        norms[name] = max(g.abs().max() for g in gradient(model, everything))
    assert norms["scaffold"] < norms["fedavg"] / 2


def test_a_client_that_tells_no_steps_is_named():
    with pytest.raises(
        ValueError, match="needs steps above 0 in every client's metrics, found None"
    ):
        _number({"num-examples": 3}, STEPS)


def test_the_servers_sum_is_the_clients_own_though_rounds_are_tried_again(train):
    section = {
        "data": DATA,
        "cohort": 3,
        "local": {"steps": 2, "batch_size": 32, "learning_rate": LR},
        "strategy": {"name": "scaffold"},
        "faults": {"dropout": 0.3},
        "round": {"min_replies": 3, "attempts": 50},
    }
    run = train("logistic", clients=CLIENTS, rounds=4, federated=section)
    assert run.said("round-again")
    folder = RunFolder.open(run.path).newest_checkpoint()
    samples = dict(enumerate(len(part) for part in parts()))
    states = dict(_unpack(folder.read("clients.bin")))
    kept = sum(
        samples[client] * state["control"]["output.weight"].numpy().astype(np.float64)
        for client, state in states.items()
    )
    arrays = folder.arrays("strategy.safetensors")
    (server,) = (arrays[name] for name in arrays if name.endswith("output.weight"))
    np.testing.assert_allclose(server, kept, rtol=0, atol=1e-4)

"""Hand-written gradients against autograd's, and the fused optimiser against torch's."""

import numpy as np
import pytest
import torch
from torch import nn

from covey.algorithms.flat_mlp import FlatMlp, Pass, size, views, with_ones
from covey.algorithms.fused_adam import FusedAdam, average

WIDTHS = (5, 33, 17, 3)


def flat_and_module(activation, ones_at=None):
    """A perceptron of ours with random weights, and torch's with the same ones."""
    net = FlatMlp(torch.zeros(size(WIDTHS)), WIDTHS, activation, ones_at)
    net.initialize(np.random.default_rng(1))
    between = nn.ReLU if activation == "relu" else nn.Tanh
    module = nn.Sequential(
        nn.Linear(5, 33), between(), nn.Linear(33, 17), between(), nn.Linear(17, 3)
    )
    weights = net.arrays("x")
    for index, layer in enumerate(module[::2]):
        layer.weight.data = torch.from_numpy(weights[f"x.{index}.weight"])
        layer.bias.data = torch.from_numpy(weights[f"x.{index}.bias"])
    return net, module


def as_input(seen, ones_at=None):
    padded = with_ones(len(seen), 5, ones_at)
    at = 5 if ones_at is None else ones_at
    padded[:, :at], padded[:, at + 1 :] = seen[:, :at], seen[:, at:]
    return padded


@pytest.mark.parametrize("ones_at", [None, 2])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_values_and_slopes_are_autograds(activation, ones_at):
    torch.manual_seed(0)
    net, module = flat_and_module(activation, ones_at)
    gradient = torch.zeros(size(WIDTHS))
    room, by_input = Pass(20, WIDTHS, activation), []
    seen, slopes = torch.randn(40, 5, requires_grad=True), torch.randn(40, 3)
    for index, rows in enumerate((slice(0, 20), slice(20, 40))):  # chunk after chunk
        x = as_input(seen.detach()[rows], ones_at)
        torch.testing.assert_close(room.forward(net, x), module(seen[rows]).detach())
        by_sums = room.backward(net, x, slopes[rows], views(gradient, WIDTHS), float(index > 0))
        by_input.append(by_sums @ torch.from_numpy(net.arrays("x")["x.0.weight"]))
    module(seen).backward(slopes)
    torch.testing.assert_close(torch.cat(by_input), seen.grad, rtol=1e-5, atol=1e-5)
    slope_net = FlatMlp(gradient, WIDTHS, activation, ones_at)
    for index, layer in enumerate(module[::2]):
        ours = slope_net.arrays("x")
        for kind, theirs in (("weight", layer.weight.grad), ("bias", layer.bias.grad)):
            torch.testing.assert_close(
                torch.from_numpy(ours[f"x.{index}.{kind}"]), theirs, rtol=1e-5, atol=1e-5
            )


def test_weights_come_back_as_they_were_saved():
    net, _ = flat_and_module("relu", ones_at=2)
    other = FlatMlp(torch.zeros(size(WIDTHS)), WIDTHS, "relu", ones_at=2)
    other.load("x", net.arrays("x"))
    for ours, theirs in zip(net.layers, other.layers, strict=True):
        assert torch.equal(ours, theirs)


def test_adam_equals_torchs_and_goes_on_from_its_state():
    torch.manual_seed(0)
    ours = torch.randn(50)
    theirs = ours.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.01)
    optimizer = FusedAdam(ours.numpy())
    for step in range(20):
        gradient = torch.randn(50)
        if step == 10:
            before, optimizer = optimizer, FusedAdam(ours.numpy())
            optimizer.restore(before.state())
        optimizer.step((2 * gradient).numpy(), 0.01, scale=0.5)
        theirs.grad = gradient
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_the_average_moves_by_tau_of_the_way():
    target, parameters = np.zeros(3, np.float32), np.array([1, 2, -4], np.float32)
    average(target, parameters, np.float32(0.25))
    np.testing.assert_array_equal(target, [0.25, 0.5, -1])

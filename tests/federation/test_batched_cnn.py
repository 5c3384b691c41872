"""A step of many networks at once against the model's own gradient, client by client."""

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from covey.federation.apps.batched import Descent, LaidOut, Plan
from covey.federation.apps.batched_cnn import TOGETHER, cnn_step
from covey.federation.apps.models import make_model
from covey.federation.sample_spec import ImageSize

IMAGE = ImageSize(6, 5, 2)


def test_each_client_takes_the_step_that_it_would_take_alone():
    """More clients than are kept at once, each with weights and a minibatch size of its own."""
    torch.manual_seed(3)
    images, labels = torch.randn(40, 60), torch.randint(0, 3, (40,))
    model = make_model("cnn", 60, 3, IMAGE)
    clients = TOGETHER + 3
    weights = {
        name: array.detach() + 0.1 * torch.randn(clients, *array.shape)
        for name, array in model.named_parameters()
    }
    before = {name: array.clone() for name, array in weights.items()}
    parts = [torch.randperm(40)[: 1 + 3 * client % 8] for client in range(clients)]
    plans = [Plan(part, (len(part),)) for part in parts]
    laid_out = LaidOut(plans, images, labels, 3)
    cnn_step(IMAGE)(weights, next(laid_out.batches()), Descent(0.5))
    losses = laid_out.losses.sum((1, 2))
    for client, part in enumerate(parts):
        own = {name: array[client].requires_grad_() for name, array in before.items()}
        loss = cross_entropy(functional_call(model, own, (images[part],)), labels[part])
        torch.testing.assert_close(losses[client], loss)
        gradients = torch.autograd.grad(loss, list(own.values()))
        for (name, array), gradient in zip(own.items(), gradients, strict=True):
            torch.testing.assert_close(weights[name][client], array - 0.5 * gradient)

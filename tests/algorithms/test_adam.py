"""Our Adam against torch's."""

import torch

from covey.algorithms.adam import EPSILON, Adam


def test_equals_torchs_and_goes_on_from_its_state():
    torch.manual_seed(0)
    ours = torch.randn(50, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.01, eps=EPSILON)
    optimizer = Adam(ours)
    for step in range(20):
        gradient = torch.randn_like(ours)
        if step == 10:
            before, optimizer = optimizer, Adam(ours)
            optimizer.restore(before.state())
        optimizer.step(gradient, 0.01)
        theirs.grad = gradient
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)

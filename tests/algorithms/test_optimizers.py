"""Our optimisers against torch's."""

from functools import partial

import pytest
import torch

from covey.algorithms.adam import EPSILON, Adam
from covey.algorithms.rmsprop import DECAY, RMSProp


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (Adam, partial(torch.optim.Adam, lr=0.01, eps=EPSILON)),
        (
            partial(RMSProp, epsilon=0.1),
            partial(torch.optim.RMSprop, lr=0.01, alpha=DECAY, eps=0.1),
        ),
    ],
    ids=["adam", "rmsprop"],
)
def test_equals_torchs_and_goes_on_from_its_state(make, reference):
    torch.manual_seed(0)
    ours = torch.randn(50, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    peer = reference([theirs])
    optimizer = make(ours)
    for step in range(20):
        gradient = torch.randn_like(ours)
        if step == 10:
            before, optimizer = optimizer, make(ours)
            optimizer.restore(before.state())
        optimizer.step(gradient, 0.01)
        theirs.grad = gradient
        peer.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12)

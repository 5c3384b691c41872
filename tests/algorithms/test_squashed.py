"""SAC's distribution against torch's, its slopes against autograd's, its acting form beside it."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from covey.algorithms.policy_squashed import SquashedPolicy
from covey.algorithms.squashed_gaussian import head_slopes, squash
from covey.platform.errors import UserError
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

SEEN = ObservationSpec("numeric", (3,), "float32")
SPACES = Spaces(SEEN, ActionSpec("continuous", (2,), "float32", low=(-2.0, -1.0), high=(2.0, 3.0)))


def head_and_noise(rows):
    torch.manual_seed(0)
    head = torch.randn(rows, 4) * torch.tensor([2.0, 2.0, 1.0, 1.0])
    head[0, 2:] = torch.tensor([-30.0, 9.0])  # beyond the deviations' limits
    return head, torch.randn(rows, 2)


class Drawn:
    """What `squash` writes, as tensors."""

    def __init__(self, head, noise):
        self.actions, self.spread = torch.zeros(2, *noise.shape)
        self.logp = torch.zeros(len(noise))
        written = (self.actions, self.logp, self.spread)
        squash(head.numpy(), noise.numpy(), *(part.numpy() for part in written))


def test_log_probabilities_are_torchs():
    head, noise = head_and_noise(50)
    drawn = Drawn(head[1:], noise[1:])
    mean, log_std = head[1:].double().chunk(2, 1)
    log_std = log_std.clamp(max=2)
    normal = Independent(Normal(mean, log_std.exp()), 1)
    reference = TransformedDistribution(normal, TanhTransform())
    before = mean + log_std.exp() * noise[1:]
    expected = normal.log_prob(before) - TanhTransform().log_abs_det_jacobian(
        before, before.tanh()
    ).sum(1)
    torch.testing.assert_close(drawn.logp.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn.actions.double(), before.tanh(), rtol=1e-5, atol=1e-5)
    inner = (before.abs() < 2).all(1)  # where tanh can be inverted
    logp = reference.log_prob(before.tanh())
    torch.testing.assert_close(logp[inner], expected[inner], rtol=1e-4, atol=1e-4)


def slow_squash(head, noise):
    """In the terms of the paper, for autograd."""
    mean, log_std = head.chunk(2, 1)
    normal = Normal(mean, log_std.clamp(-20, 2).exp())
    before = mean + normal.stddev * noise
    actions = before.tanh()
    narrowing = 2 * (np.log(2) - before - torch.nn.functional.softplus(-2 * before))
    return actions, (normal.log_prob(before) - narrowing).sum(1)


def test_slopes_are_autograds():
    head, noise = head_and_noise(50)
    by_actions, ours = torch.randn(50, 2), torch.zeros(50, 4)
    reference = head.double().requires_grad_()
    actions, logp = slow_squash(reference, noise.double())
    ((actions * by_actions).sum() + 0.3 * logp.sum()).backward()
    drawn = Drawn(head, noise)
    parts = (head, drawn.actions, drawn.spread, by_actions)
    head_slopes(*(part.numpy() for part in parts), 0.3, ours.numpy())
    torch.testing.assert_close(ours.double(), reference.grad, rtol=1e-4, atol=1e-5)


def acting(rows):
    """Weights of a network of one layer, and a policy that loaded them."""
    generator = np.random.default_rng(2)
    arrays = {
        "actor.0.weight": generator.normal(size=(4, 3)).astype(np.float32),
        "actor.0.bias": generator.normal(size=4).astype(np.float32),
    }
    policy = SquashedPolicy(SPACES, "relu")
    policy.load(arrays)
    seen = generator.normal(size=(rows, 3)).astype(np.float32)
    return policy, seen, seen @ arrays["actor.0.weight"].T + arrays["actor.0.bias"]


def test_the_acting_form_draws_the_same_actions_stretched_to_the_bounds():
    policy, seen, head = acting(40)
    actions, logp = policy.sample(seen, np.random.default_rng(3))
    noise = np.random.default_rng(3).standard_normal((40, 2), dtype=np.float32)
    drawn = Drawn(torch.from_numpy(head), torch.from_numpy(noise))
    expected = drawn.actions.numpy() * [2, 2] + [0, 1]
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logp, drawn.logp.numpy(), rtol=1e-4, atol=1e-4)
    assert actions.dtype == logp.dtype == np.float32


def test_the_best_actions_are_the_means():
    policy, seen, head = acting(40)
    np.testing.assert_allclose(
        policy.best(seen), np.tanh(head[:, :2]) * [2, 2] + [0, 1], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "action",
    [
        ActionSpec("continuous", (1,), "float32", low=(None,), high=(1.0,)),
        ActionSpec("discrete", (), "int64", choices=2),
    ],
)
def test_refuses_actions_without_two_bounds(action):
    with pytest.raises(UserError, match="between two bounds"):
        SquashedPolicy(Spaces(SEEN, action), "relu")

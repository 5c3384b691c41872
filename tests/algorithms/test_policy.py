"""The acting form of a policy: the same numbers as the networks it was published from."""

import gymnasium
import numpy as np
import pytest
import torch

from covey.algorithms.networks import ActorCritic, categorical, gaussian
from covey.algorithms.normalizer import RunningMoments
from covey.algorithms.policy import MlpPolicy, acting_arrays, layer_number, sample_categorical
from covey.algorithms.trained import TrainedPolicy
from covey.envs.spaces import describe_action
from covey.platform.runtime.spaces import ActionSpec, ObservationSpec, Spaces

DISCRETE = ActionSpec("discrete", (), "int64", choices=5)
CONTINUOUS = ActionSpec(
    "continuous", (3,), "float32", low=(-1.0, -1.0, None), high=(1.0, 2.0, None)
)
SEEN = ObservationSpec("numeric", (4,), "float32")


def network_and_policy(action, activation="tanh", share_torso=False, observed=None):
    spaces = Spaces(SEEN, action)
    network = ActorCritic(
        spaces, (32, 32), activation, share_torso, torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    policy = MlpPolicy(spaces, activation)
    policy.load(acting_arrays({k: v.numpy() for k, v in network.state_dict().items()}, observed))
    return network, policy


@pytest.mark.parametrize("share_torso", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("action", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_log_probabilities_agree_with_the_networks(action, activation, share_torso):
    torch.manual_seed(0)
    network, policy = network_and_policy(action, activation, share_torso)
    seen = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    actions, logp = policy.sample(seen, np.random.default_rng(2))
    with torch.no_grad():
        expected, _, _ = network.evaluate(torch.from_numpy(seen), torch.from_numpy(actions))
    np.testing.assert_allclose(logp, expected.numpy(), atol=3e-6)


def test_sampled_actions_have_the_softmaxs_frequencies():
    logits = np.tile(np.log(np.array([[0.5, 0.2, 0.3]], dtype=np.float32)), (60_000, 1)) + 7
    actions, logp = sample_categorical(logits, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(actions) / len(actions), [0.5, 0.2, 0.3], atol=0.01)
    np.testing.assert_allclose(np.exp(logp), np.array([0.5, 0.2, 0.3])[actions], rtol=1e-5)


def test_distributions_agree_with_torchs():
    logits, actions = torch.randn(7, 5), torch.randint(5, (7,))
    reference = torch.distributions.Categorical(logits=logits)
    logp, entropy = categorical(logits, actions)
    torch.testing.assert_close(logp, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())
    mean, log_std, taken = torch.randn(7, 3), torch.randn(3), torch.randn(7, 3)
    normal = torch.distributions.Normal(mean, log_std.exp())
    logp, entropy = gaussian(mean, log_std, taken)
    torch.testing.assert_close(logp, normal.log_prob(taken).sum(-1))
    torch.testing.assert_close(entropy, normal.entropy().sum(-1))


def test_act_takes_one_observation_or_many_and_gives_what_the_environment_takes():
    network, policy = network_and_policy(CONTINUOUS)
    arrays = acting_arrays({k: v.numpy() for k, v in network.state_dict().items()}, None)
    last = max((name for name in arrays if name.endswith("bias")), key=layer_number)
    policy.load({**arrays, last: np.array([7, -7, 7], dtype=np.float32)})
    many = TrainedPolicy(policy, Spaces(SEEN, CONTINUOUS)).act(
        np.ones((2, 4), dtype=np.float32) * 3
    )
    assert many.shape == (2, 3) and many.dtype == np.float32
    assert many[:, :2].tolist() == [[1, -1], [1, -1]] and (many[:, 2] > 1).all()
    np.testing.assert_allclose(
        TrainedPolicy(policy, Spaces(SEEN, CONTINUOUS)).act([3, 3, 3, 3]), many[0], rtol=1e-5
    )
    assert TrainedPolicy(policy, Spaces(SEEN, CONTINUOUS)).act(
        np.empty((0, 4), dtype=np.float32)
    ).shape == (0, 3)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2), (4, 1)])
def test_act_refuses_what_is_no_observation(shape):
    _, policy = network_and_policy(CONTINUOUS)
    with pytest.raises(ValueError, match="expected"):
        TrainedPolicy(policy, Spaces(SEEN, CONTINUOUS)).act(np.ones(shape, dtype=np.float32))


def test_bounds_hold_in_the_precision_of_the_environment():
    space = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float64)
    action = describe_action(space, "it")
    prepared = action.to_environment(np.array([[9, -9]], dtype=np.float32))
    assert space.contains(prepared[0])


def test_observations_are_normalised_and_clipped_as_published():
    observed = RunningMoments(4)
    observed.update(np.random.default_rng(0).normal(5, 2, (500, 4)))
    network, policy = network_and_policy(DISCRETE, observed=observed)
    seen = np.array([[5, 4, 6, 1e9]], dtype=np.float32)
    normal = np.clip((seen - observed.mean) / np.sqrt(observed.variance + 1e-8), -10, 10)
    with torch.no_grad():
        expected = network.actor(torch.from_numpy(normal.astype(np.float32))).argmax(-1)
    assert policy.best(seen).tolist() == expected.tolist()


def test_categorical_observations_become_one_hot_rows():
    spec = ObservationSpec("categorical", (2,), "int64", (3, 2))
    encoded = spec.encode(np.array([[2, 0], [0, 1]]))
    assert encoded.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
    assert spec.width == 5


def test_spaces_survive_a_trip_through_json():
    import json

    spaces = Spaces(SEEN, CONTINUOUS)
    assert Spaces.from_record(json.loads(json.dumps(spaces.to_record()))) == spaces
